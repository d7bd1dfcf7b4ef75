"""Meters, features and random plans."""

from fractions import Fraction

import costs
from ledger import DIGITS
from expectations import decimal, request

METERS = {
    "units": {"event_type": "usage", "aggregation": "sum", "value": "units"},
    "payments": {"event_type": "payment", "aggregation": "sum", "value": "amount"},
    "calls": {"event_type": "call", "aggregation": "count"},
    "seats": {"event_type": "seat", "aggregation": "unique_count", "value": "seat"},
    "peak": {"event_type": "peak", "aggregation": "max", "value": "height"},
    "level": {"event_type": "level", "aggregation": "latest", "value": "height"},
    "cells": {"event_type": "cell", "aggregation": "sum", "value": "units",
              "dimensions": {"zone": "zone", "size": "size"}},
    "pages": {"event_type": "job", "aggregation": "sum", "value": "pages", "dimensions": {"model": "model"}},
    "desks": {"event_type": "desk", "aggregation": "sum", "value": "desks"},
}
USED = [feature for feature in METERS if feature != "desks"]


class Catalogue:
    """Three plans of each currency, most with a second version that is published in the middle of the story. All price
    every feature, so that no usage is unpriced."""

    def __init__(self, rng, extras, stops):
        self.rng, self.extras, self.plans = rng, extras, {}
        for currency in DIGITS:
            for letter in "abc":
                published = [0] + [rng.randrange(3, stops - 3)] * (rng.random() < 0.7)
                self.plans[f"{currency.lower()}-{letter}"] = [(stop, self.version(currency)) for stop in published]

    def published(self, plan, stop):
        """Its versions at a stop by number."""
        return {number: version for number, (since, version) in enumerate(self.plans[plan], 1) if since <= stop}

    def of(self, currency):
        return [key for key in self.plans if key.startswith(currency.lower())]

    def money(self, currency, low, high):
        """A random amount of whole minor units. A yen is taken for a cent."""
        unit = 1 if currency == "JPY" else Fraction(1, 100) if currency == "USD" else Fraction(5, 1000)
        return decimal(self.rng.randint(low, high) * unit)

    def price(self, currency, low, high):
        """Of one unit: with digits beyond the minor unit."""
        return decimal(Fraction(self.money(currency, low, high)) / self.rng.choice([1, 4, 8]))

    def version(self, currency):
        fees = [*self.fees("base", "in_advance", currency), *self.fees("support", "in_arrears", currency)]
        charges = [{"feature": feature, "price": self.feature_price(feature, currency)} for feature in USED]
        if self.rng.random() < 0.3:
            charges.append({"feature": "desks", "price": {"model": "flat", "amount": self.money(currency, 100, 2000)}})
        version = {"fees": fees, "charges": charges}
        if "commitment" in self.extras and self.rng.random() < 0.6:
            version["minimum_commitment"] = self.money(currency, 3000, 30000)
        if "included" in self.extras and self.rng.random() < 0.6:
            version["included_credit"] = self.money(currency, 200, self.rng.choice([3000, 20000]))
        return version

    def fees(self, name, charged, currency):
        """At times of the same amount, so that remainders of what is spread over them are the same, too."""
        amounts = [self.money(currency, 300, 6000) for _ in range(self.rng.choice([0, 1, 1, 2, 2, 3]))]
        amounts = amounts[:1] * len(amounts) if self.rng.random() < 0.5 else amounts
        return [{"key": f"{name}{index}", "amount": amount, "charged": charged} for index, amount in enumerate(amounts)]

    def feature_price(self, feature, currency):
        if feature == "payments":
            return self.percentage(currency)
        if feature in ("cells", "pages") and self.rng.random() < 0.8:
            own = [self.matrix] if feature == "cells" else [self.cost_plus, self.cost_plus, self.matrix_of_models]
            return self.rng.choice(own)(currency)
        if feature in ("seats", "peak", "level"):
            models = [self.stairstep, self.per_unit, self.graduated]
        else:
            models = [self.per_unit, self.graduated, self.volume, self.package, self.stairstep]
        return self.rng.choice(models)(currency)

    def per_unit(self, currency):
        return {"model": "per_unit", "unit_amount": self.price(currency, 1, 60)}

    def tiers(self, currency, flat):
        bounds = sorted(self.rng.sample(range(5, 300), 2))
        tiers = [{"up_to": str(bound), "unit_amount": self.price(currency, 1, 60)} for bound in bounds]
        tiers.append({"up_to": None, "unit_amount": self.price(currency, 1, 40)})
        for tier in tiers:
            if self.rng.random() < flat:
                tier["flat_amount"] = self.money(currency, 1, 900)
        return tiers

    def graduated(self, currency):
        return {"model": "graduated", "tiers": self.tiers(currency, 0.4)}

    def volume(self, currency):
        return {"model": "volume", "tiers": self.tiers(currency, 0.4)}

    def stairstep(self, currency):
        bounds = [str(bound) for bound in sorted(self.rng.sample(range(2, 40), 2))] + [None]
        amounts = [self.money(currency, low, low + 700) for low in (100, 900, 1700)]
        return {"model": "stairstep",
                "tiers": [{"up_to": up_to, "flat_amount": amount} for up_to, amount in zip(bounds, amounts)]}

    def package(self, currency):
        price = {"model": "package", "amount": self.money(currency, 50, 700),
                 "package_size": str(self.rng.choice([10, 25, 50]))}
        return price | ({"free_units": str(self.rng.choice([5, 30]))} if self.rng.random() < 0.5 else {})

    def percentage(self, currency):
        price = {"model": "percentage", "percent": self.rng.choice(["2.5", "1.75", "0.333"])}
        if self.rng.random() < 0.6:
            price["fixed_amount"] = self.money(currency, 5, 40)
        if self.rng.random() < 0.4:
            price["minimum"] = self.money(currency, 100, 400)
        if self.rng.random() < 0.3:
            price["maximum"] = self.money(currency, 500, 1500)
        return price

    def cost_plus(self, currency):
        return {"model": "cost_plus", "markup_percent": self.rng.choice(["0", "20", "12.75"])}

    def matrix_of_models(self, currency):
        cells = [{"match": {"model": "scan"}, "price": self.cost_plus(currency)}]
        return {"model": "matrix", "dimensions": ["model"], "cells": cells,
                "default": self.rng.choice([self.cost_plus, self.package, self.graduated])(currency)}

    def matrix(self, currency):
        """Of one dimension or two, with a price of its own for some combinations."""
        dimensions = self.rng.choice([["zone"], ["zone"], ["zone", "size"]])
        models = [self.per_unit, self.graduated, self.volume, self.stairstep, self.package, self.percentage]
        match = [{"zone": zone, "size": size} for zone in ("eu", "us") for size in ("s", "")[:len(dimensions)]]
        cells = [{"match": {name: cell[name] for name in dimensions}, "price": self.rng.choice(models)(currency)}
                 for cell in match]
        return {"model": "matrix", "dimensions": dimensions, "cells": cells,
                "default": self.rng.choice(models)(currency)}

    def overrides(self, plan, version, rng):
        """Another amount of a fee and another price of a feature, for one tenant."""
        _, other = self.plans[rng.choice(self.of(plan[:3].upper()))][0]
        found = {"charges": [rng.choice(other["charges"][:len(USED)])]}
        if version["fees"]:
            fee = rng.choice(version["fees"])
            found["fees"] = [fee | {"amount": decimal(Fraction(fee["amount"]) * 3)}]
        return found

    def steps(self):
        yield from costs.steps()
        for key, meter in METERS.items():
            yield request("POST", "/meters", {"key": key, **meter}, 201)
            yield request("POST", "/features", {"key": key, "meter": key, "unit": "unit"}, 201)
        for key in self.plans:
            yield request("POST", "/plans", {"key": key, "name": key, "currency": key[:3].upper()}, 201)

    def steps_at(self, stop):
        """The versions that are published then."""
        for key, versions in self.plans.items():
            for number, (since, version) in enumerate(versions, 1):
                if since == stop:
                    yield request("POST", f"/plans/{key}/versions", version, 201, expect={"/version": number})
                    yield request("POST", f"/plans/{key}/versions/{number}/publish", expect={"/status": "published"})


def overridden(version, overrides):
    """The entries of the overrides in place of those of the version."""
    fees = {fee["key"]: fee for fee in version["fees"] + overrides.get("fees", [])}
    charges = {charge["feature"]: charge for charge in version["charges"] + overrides.get("charges", [])}
    return version | {"fees": [*fees.values()], "charges": [*charges.values()]}
