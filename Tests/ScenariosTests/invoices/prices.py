"""Rounding, prices and periods, written from docs/rules.md alone, on exact fractions."""

import math
from calendar import monthrange
from datetime import timedelta, timezone
from fractions import Fraction

ZERO = Fraction(0)


class OpenQuestion(Exception):
    """The rules do not say what comes of this."""


def rounded(value, digits):
    """Half away from zero to the minor unit."""
    units = math.floor(abs(value) * 10**digits + Fraction(1, 2))
    return Fraction(units if value >= 0 else -units, 10**digits)


def spread(amount, weights, digits):
    """An amount in proportion to weights, by largest remainder. Of equal ones the first has the unit."""
    total, unit = sum(weights, ZERO), 10**digits
    if amount == 0:
        return [ZERO for _ in weights]
    exact = [amount * weight / total * unit for weight in weights]
    shares = [math.floor(value) for value in exact]
    more = int(amount * unit) - sum(shares)
    order = sorted(range(len(weights)), key=lambda index: shares[index] - exact[index])
    for index in order[:more]:
        shares[index] += 1
    return [Fraction(share, unit) for share in shares]


def spread_signed(amount, weights, digits):
    """In proportion to weights of which some are of the other sign: those of the sum's sign have their share, rounded,
    and the others take back what that is too much. `amount` may be of either sign."""
    sign = 1 if amount > 0 else -1
    together = sum(weights, ZERO)
    ours = [max(ZERO, weight * (1 if together > 0 else -1)) for weight in weights]
    others = [max(ZERO, weight * (-1 if together > 0 else 1)) for weight in weights]
    share = rounded(abs(amount) * sum(ours, ZERO) / abs(together), digits) if amount else ZERO
    parts = zip(spread(share, ours, digits), spread(share - abs(amount), others, digits))
    return [sign * (own - other) for own, other in parts]


def tier_of(tiers, quantity):
    return next(tier for tier in tiers if tier["up_to"] is None or quantity <= Fraction(tier["up_to"]))


def graduated(tiers, quantity):
    total, start = ZERO, ZERO
    for tier in tiers:
        end = quantity if tier["up_to"] is None else min(quantity, Fraction(tier["up_to"]))
        if end > start:
            total += (end - start) * Fraction(tier["unit_amount"]) + Fraction(tier.get("flat_amount", "0"))
            start = end
    return total


def percentage(price, quantity, events):
    amount = quantity * Fraction(price["percent"]) / 100 + events * Fraction(price.get("fixed_amount", "0"))
    amount = max(amount, Fraction(price.get("minimum", "0")))
    return min(amount, Fraction(price["maximum"])) if "maximum" in price else amount


def charge(price, quantity, events, cost):
    """What a period's total usage costs."""
    if price["model"] == "cost_plus":
        return cost * (100 + Fraction(price["markup_percent"])) / 100
    if price["model"] == "percentage":
        return percentage(price, quantity, events) if events else ZERO
    if quantity <= 0:
        return ZERO
    match price["model"]:
        case "per_unit":
            return quantity * Fraction(price["unit_amount"])
        case "graduated":
            return graduated(price["tiers"], quantity)
        case "volume":
            tier = tier_of(price["tiers"], quantity)
            return quantity * Fraction(tier["unit_amount"]) + Fraction(tier.get("flat_amount", "0"))
        case "stairstep":
            return Fraction(tier_of(price["tiers"], quantity)["flat_amount"])
        case "package":
            beyond = max(ZERO, quantity - Fraction(price.get("free_units", "0")))
            return math.ceil(beyond / Fraction(price["package_size"])) * Fraction(price["amount"])
    raise ValueError(price["model"])


def to_instant(local, zone):
    """A local time that does not exist is the first instant after the gap, one that occurs twice the earlier one."""
    found = local.replace(tzinfo=zone).astimezone(timezone.utc)
    if found.astimezone(zone).replace(tzinfo=None) == local:
        return found
    low, high = found - timedelta(days=1), found
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
    return high.replace(microsecond=0)


def months_after(anchor, months, zone):
    local = anchor.astimezone(zone).replace(tzinfo=None)
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = min(local.day, monthrange(year, month + 1)[1])
    return to_instant(local.replace(year=year, month=month + 1, day=day), zone)


def days_after(start, days, zone):
    """At the same local time of day."""
    return to_instant(start.astimezone(zone).replace(tzinfo=None) + timedelta(days=days), zone)
