"""Works out every invoice of the story by hand arithmetic on exact fractions, and prints the ledger.

It shares no code with Turnpike: prices, periods, credits and taxes are written here again, from docs/rules.md.
"""

import json
import math
import pathlib
import sys
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

STORY = json.loads((pathlib.Path(__file__).parent / "story.json").read_text(encoding="utf-8"))
DIGITS = {"USD": 2, "JPY": 0, "KWD": 3}
PLANS = {plan["key"]: plan for plan in STORY["plans"]}
GRACE = timedelta(hours=24)
LAST_MONTH = 3


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def rounded(value, currency):
    """Half away from zero to the minor unit."""
    scaled = abs(value) * 10 ** DIGITS[currency]
    units = math.floor(scaled + Fraction(1, 2))
    return Fraction(units if value >= 0 else -units, 10 ** DIGITS[currency])


def text(value, currency):
    units = value * 10 ** DIGITS[currency]
    assert units.denominator == 1, value
    sign, digits = "-" if units < 0 else "", str(abs(int(units))).rjust(DIGITS[currency] + 1, "0")
    return sign + (digits if DIGITS[currency] == 0 else f"{digits[:-DIGITS[currency]]}.{digits[-DIGITS[currency]:]}")


def tier_bound(tier):
    return math.inf if tier["up_to"] is None else Fraction(tier["up_to"])


def charge(price, quantity, events, cost):
    """What a period's total usage costs."""
    number = lambda name: Fraction(price.get(name, "0"))
    if quantity == 0 and events == 0:
        return Fraction(0)
    match price["model"]:
        case "per_unit":
            return quantity * number("unit_amount")
        case "graduated":
            total, floor = Fraction(0), Fraction(0)
            for tier in price["tiers"]:
                ceiling = min(quantity, tier_bound(tier))
                if ceiling > floor:
                    total += (ceiling - floor) * Fraction(tier["unit_amount"]) + Fraction(tier.get("flat_amount", "0"))
                    floor = ceiling
            return total
        case "volume":
            tier = next(tier for tier in price["tiers"] if quantity <= tier_bound(tier))
            return quantity * Fraction(tier["unit_amount"]) + Fraction(tier.get("flat_amount", "0"))
        case "stairstep":
            tier = next(tier for tier in price["tiers"] if quantity <= tier_bound(tier))
            return Fraction(tier["flat_amount"]) if quantity > 0 else Fraction(0)
        case "package":
            return math.ceil(max(0, quantity - number("free_units")) / number("package_size")) * number("amount")
        case "percentage":
            amount = quantity * number("percent") / 100 + events * number("fixed_amount")
            return min(max(amount, number("minimum")), number("maximum"))
        case "cost_plus":
            return cost * (1 + number("markup_percent") / 100)
    raise ValueError(price["model"])


def provider_cost(event):
    """What the provider charges for one call; None where no price is known."""
    data, time = event["data"], instant(event["time"])
    total = Fraction(0)
    for token_class, tokens in (("input", data["input_tokens"]), ("output", data["output_tokens"])):
        known = [
            price
            for price in STORY["prices"]
            if price["token_class"] == token_class
            and data["model"].startswith(price["model"].rstrip("*"))
            and instant(price["effective_from"]) <= time
        ]
        total += tokens * Fraction(max(known, key=lambda price: instant(price["effective_from"]))["unit_amount"])
    return total


def measured(event, feature):
    """Quantities by cell that an event adds to a feature; empty where it does not feed it."""
    data = event["data"]
    match feature, event["type"]:
        case "units", "usage":
            return {"": Fraction(data["units"])}
        case "payments", "payment":
            return {"": Fraction(data["amount"])}
        case "calls", "llm":
            return {"": Fraction(1)}
        case "seats", "seat":
            return {data["seat"]: Fraction(1)}
        case "tokens", "llm":
            return {
                json.dumps({"model": data["model"], "token_class": name}, separators=(",", ":")): Fraction(tokens)
                for name, tokens in (("input", data["input_tokens"]), ("output", data["output_tokens"]))
            }
    return {}


def totals(events, feature):
    """Per cell: quantity, number of events, cost."""
    cells = {}
    for event in events:
        for cell, quantity in measured(event, feature).items():
            before = cells.get(cell, (Fraction(0), 0, Fraction(0)))
            cost = provider_cost(event) if event["type"] == "llm" else Fraction(0)
            cells[cell] = (before[0] + quantity, before[1] + 1, before[2] + cost)
    if feature == "seats":
        events = sum(count for _, count, _ in cells.values())
        return {"": (Fraction(len(cells)), events, Fraction(0))}
    return cells


def cell_price(price, cell):
    if price["model"] != "matrix":
        return price
    match = json.loads(cell)
    return next((entry["price"] for entry in price["cells"] if entry["match"] == match), price["default"])


class Account:
    """A tenant's subscription: its segments, its events, and what was invoiced for each item."""

    def __init__(self, tenant):
        self.tenant, self.currency = tenant, tenant["currency"]
        self.zone = ZoneInfo(tenant["timezone"])
        self.segments = [(datetime.min.replace(tzinfo=timezone.utc), PLANS[tenant["plan"]])]
        if STORY["change"]["tenant"] == tenant["key"]:
            self.segments.append((instant(STORY["change"]["at"]), PLANS[STORY["change"]["plan"]]))
        self.events = [event for event in STORY["events"] if event["tenant"] == tenant["key"]]
        self.invoiced = {}
        self.discount_left = {d["tenant"]: d["invoices"] for d in STORY["discounts"]}.get(tenant["key"], 0)
        self.credit = [
            dict(grant, left=Fraction(grant["amount"]))
            for grant in STORY["credit_grants"]
            if grant["tenant"] == tenant["key"]
        ]

    def period(self, month):
        first = lambda m: datetime(2027 + (m - 1) // 12, (m - 1) % 12 + 1, 1, tzinfo=self.zone)
        return first(month), first(month + 1)

    def parts(self, month):
        """The segments in force in a period: ordinal, plan, start, end, and the exact part of the period."""
        start, end = (moment.astimezone(timezone.utc) for moment in self.period(month))
        bounds = [begin for begin, _ in self.segments[1:]] + [datetime.max.replace(tzinfo=timezone.utc)]
        for ordinal, ((begin, plan), until) in enumerate(zip(self.segments, bounds)):
            low, high = max(start, begin), min(end, until)
            if low < high:
                yield ordinal, plan, low, high, Fraction((high - low) // timedelta(seconds=1), (end - start) // timedelta(seconds=1))

    def known(self, at):
        """Events that had been sent by a time, and the segments that had been made."""
        return [event for event in self.events if instant(event.get("sent", event["time"])) <= at]

    def items(self, month, at, advance):
        """Exact amounts of a period's items as they stand at a time; only the fees in advance if so asked."""
        start, end = self.period(month)
        events = [event for event in self.known(at) if start <= instant(event["time"]) < end]
        made = [part for part in self.parts(month)] if at >= self.segments[-1][0] or len(self.segments) == 1 else None
        if made is None:
            made = [(0, self.segments[0][1], start, end, Fraction(1))]
        items, usage, committed, included = {}, [], Fraction(0), Fraction(0)
        for ordinal, plan, low, high, part in made:
            version = plan["version"]
            for fee in version.get("fees", []):
                if not advance or fee["charged"] == "in_advance":
                    items[(month, ordinal, "fee", fee["key"], "")] = Fraction(fee["amount"]) * part
            if advance:
                continue
            committed += Fraction(version.get("minimum_commitment", "0")) * part
            included += Fraction(version.get("included_credit", "0")) * part
            for entry in version["charges"]:
                before = totals([event for event in events if instant(event["time"]) < low], entry["feature"])
                through = totals([event for event in events if instant(event["time"]) < high], entry["feature"])
                for cell, after in through.items():
                    price = cell_price(entry["price"], cell)
                    earlier = before.get(cell, (Fraction(0), 0, Fraction(0)))
                    key = (month, ordinal, "usage", entry["feature"], cell)
                    items[key] = charge(price, *after) - charge(price, *earlier)
                    usage.append(key)
        return items, usage, committed, included

    def invoice(self, kind, month, at):
        currency = self.currency
        wanted = []
        if kind == "opening":
            wanted.append((month, True))
        else:
            wanted += [(earlier, False) for earlier in range(1, month + 1)] + [(month + 1, True)]
        lines, periods = [], {}
        for number, advance in wanted:
            items, usage, committed, included = self.items(number, at, advance)
            periods[number] = (usage, committed, included, advance)
            for key, exact in items.items():
                before = self.invoiced.get(key, Fraction(0))
                amount = rounded(exact, currency) - before
                if amount != 0:
                    lines.append({"key": key, "amount": amount, "discount": Fraction(0), "credit": Fraction(0)})
        discount = Fraction(0)
        if self.discount_left and lines:
            self.discount_left -= 1
            percent = Fraction(next(d["percent"] for d in STORY["discounts"] if d["tenant"] == self.tenant["key"]))
            for line in lines:
                line["discount"] = rounded(line["amount"] * percent / 100, currency)
                discount += line["discount"]
        for number, (usage, committed, included, advance) in periods.items():
            if advance:
                continue
            spent = sum((self.invoiced.get(key, Fraction(0)) for key in usage), Fraction(0))
            spent += sum((line["amount"] - line["discount"] for line in lines if line["key"] in usage), Fraction(0))
            key = (number, None, "commitment", "", "")
            amount = rounded(max(Fraction(0), committed - spent), currency) - self.invoiced.get(key, Fraction(0))
            if amount != 0:
                lines.append({"key": key, "amount": amount, "discount": Fraction(0), "credit": Fraction(0)})
            if number == month and included:
                own = [line for line in lines if line["key"][0] == number and line["key"][2] in ("usage", "commitment")]
                self.spread(rounded(included, currency), own)
        for grant in (grant for grant in self.credit if grant["kind"] == "promotional" and instant(grant["at"]) <= at):
            net = sum(max(Fraction(0), line["amount"] - line["discount"] - line["credit"]) for line in lines)
            used = min(grant["left"], net)
            self.spread(used, lines)
            grant["left"] -= used
        return self.settle(kind, month, at, lines, discount)

    def spread(self, amount, lines):
        """Over the lines in proportion, by largest remainder."""
        scale = 10 ** DIGITS[self.currency]
        weights = [max(Fraction(0), line["amount"] - line["discount"] - line["credit"]) for line in lines]
        amount, total = min(amount, sum(weights)), sum(weights)
        if amount == 0:
            return
        exact = [amount * weight / total * scale for weight in weights]
        shares = [math.floor(value) for value in exact]
        order = sorted(range(len(lines)), key=lambda index: (shares[index] - exact[index], index))
        for index in order[: int(amount * scale) - sum(shares)]:
            shares[index] += 1
        for line, share in zip(lines, shares):
            line["credit"] += Fraction(share, scale)

    def settle(self, kind, month, at, lines, discount):
        currency = self.currency
        tax = Fraction(0)
        treatment = STORY["billing"].get(self.tenant["key"], {}).get("tax", {"rates": [], "inclusive": False})
        all_rates = sum(Fraction(rate["percent"]) for rate in treatment["rates"])
        divisor = 100 + (all_rates if treatment["inclusive"] else 0)
        for line in lines:
            net = line["amount"] - line["discount"] - line["credit"]
            for rate in treatment["rates"]:
                tax += rounded(net * Fraction(rate["percent"]) / divisor, currency)
        subtotal = sum((line["amount"] for line in lines), Fraction(0))
        credits = sum((line["credit"] for line in lines), Fraction(0))
        total = subtotal - discount - credits + (0 if treatment["inclusive"] else tax)
        carried, total = max(Fraction(0), -total), max(Fraction(0), total)
        paid = Fraction(0)
        for grant in (grant for grant in self.credit if grant["kind"] == "prepaid" and instant(grant["at"]) <= at):
            used = min(grant["left"], total - paid)
            grant["left"] -= used
            paid += used
        for line in lines:
            self.invoiced[line["key"]] = self.invoiced.get(line["key"], Fraction(0)) + line["amount"]
        money = lambda value: text(value, currency)
        time = lambda moment: moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        return {
            "tenant": self.tenant["key"],
            "kind": kind,
            "period_start": time(self.period(month)[0]),
            "final_at": time(at if kind == "regular" else at + GRACE),
            "lines": sorted(
                [" ".join(filter(None, [line["key"][2], line["key"][3], line["key"][4]])), money(line["amount"])]
                for line in lines
            ),
            "subtotal": money(subtotal),
            "discount": money(discount),
            "credits": money(credits),
            "tax": money(tax),
            "total": money(total),
            "carried_forward": money(carried),
            "paid_by_credit": money(paid),
            "amount_due": money(total - paid),
        }


def main():
    ledger = []
    for tenant in STORY["tenants"]:
        account = Account(tenant)
        opening = account.invoice("opening", 1, instant(tenant["starts_at"]))
        if opening["lines"]:
            ledger.append(opening)
        for month in range(1, LAST_MONTH + 1):
            end = account.period(month)[1].astimezone(timezone.utc)
            ledger.append(account.invoice("regular", month, end + GRACE))
    json.dump(ledger, sys.stdout, indent=1)
    print()


main()
