"""What usage is charged under the plans that a tenant is on, from docs/rules.md, chapters Prices and Plan changes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from functools import cached_property
from math import ceil
from zoneinfo import ZoneInfo


def charge(price, quantity):
    """What a total of a feature, or of its provider cost, costs in a period."""
    if price["model"] == "per_unit":
        return quantity * Fraction(price["unit_amount"])
    if price["model"] == "cost_plus":
        return quantity * (1 + Fraction(price["markup_percent"]) / 100)
    if price["model"] == "package":
        packages = ceil((quantity - Fraction(price["free_units"])) / Fraction(price["package_size"]))
        return max(0, packages) * Fraction(price["amount"])
    total, start = Fraction(0), Fraction(0)
    for tier in price["tiers"]:
        if quantity > start:
            end = quantity if tier["up_to"] is None else min(quantity, Fraction(tier["up_to"]))
            total += (end - start) * Fraction(tier["unit_amount"]) + Fraction(tier.get("flat_amount", "0"))
        start = Fraction(tier["up_to"] or 0)
    return total


def highest(price, quantity):
    """The most that a call can cost, however much was used before. Tiers must get dearer and have no flat amounts."""
    if price["model"] == "graduated":
        return quantity * Fraction(price["tiers"][-1]["unit_amount"])
    return charge(price, quantity)


@dataclass
class Segment:
    """What is in force from a time on, until the next one."""
    start: datetime
    plan: str
    prices: dict


@dataclass
class Tenant:
    """`usage` has what each period has of a feature in each segment, `pending` the segment that is to
    come, its quotas and its spend cap."""
    key: str
    zone: ZoneInfo
    anchor: datetime
    segments: list
    usage: dict = field(default_factory=dict)
    pending: tuple = None

    @property
    def plan(self):
        return self.segments[-1].plan

    @property
    def prices(self):
        return self.segments[-1].prices

    @property
    def known_segments(self):
        return self.segments + ([self.pending[0]] if self.pending else [])

    def prices_at(self, instant):
        """By the plans that are known to be in force then."""
        return max((one for one in self.known_segments if one.start <= instant), key=lambda one: one.start).prices

    @cached_property
    def periods(self):
        """Months after the anchor, at its local day and time."""
        local, bounds = self.anchor.astimezone(self.zone).replace(tzinfo=None), []
        for months in range(6):
            year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
            last_day = (datetime(year + month // 11, (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
            at = local.replace(year=year, month=month + 1, day=min(local.day, last_day))
            bounds.append(at.replace(tzinfo=self.zone).astimezone(timezone.utc))
        return [*zip(bounds, bounds[1:])]

    def period(self, instant):
        return next(period for period in self.periods if period[0] <= instant < period[1])

    def segment(self, instant):
        return max(index for index, segment in enumerate(self.segments) if segment.start <= instant)

    def last_segment(self, period):
        """Of the period that begins then."""
        return self.segment(self.period(period)[1] - timedelta(microseconds=1))

    def charge(self, period, feature, more=Fraction(0)):
        """Each segment's price asks for the usage through it, less for that before it. `more` is in the last one."""
        quantities = dict(self.usage.get((period, feature), {}))
        last = self.last_segment(period)
        quantities[last] = quantities.get(last, Fraction(0)) + more
        total, before = Fraction(0), Fraction(0)
        for index in sorted(quantities):
            price, through = self.segments[index].prices[feature], before + quantities[index]
            total += charge(price, through) - charge(price, before)
            before = through
        return total

    def held(self, period, feature, holds):
        """The most that quantities held under each segment can cost in a period. Its charges rise with the quantity."""
        used, total = self.usage.get((period, feature), {}), Fraction(0)
        before, held_before = Fraction(0), Fraction(0)
        for index in sorted({*used, *holds}):
            price = self.known_segments[index].prices[feature]
            quantity, held = used.get(index, Fraction(0)), holds.get(index, Fraction(0))
            charged = charge(price, before + quantity) - charge(price, before)
            most = charge(price, before + quantity + held_before + held) - charge(price, before) - charged
            if held_before:
                most = max(Fraction(0), min(most, highest(price, quantity + held) - charged))
            total, before, held_before = total + most, before + quantity, held_before + held
        return total

    def segments_within(self, start, end):
        """Indices of those that are known to be in force at moments from the start to the end, both included, and the
        first and the last of these moments."""
        ends = [one.start - timedelta(microseconds=1) for one in self.known_segments[1:]] + [end]
        return [(index, (max(start, one.start), min(end, last)))
                for index, (one, last) in enumerate(zip(self.known_segments, ends))
                if one.start <= end and last >= start]

    def add(self, instant, feature, quantity):
        """Says by how much the charge grows."""
        period, index = self.period(instant)[0], self.segment(instant)
        before = self.charge(period, feature)
        used = self.usage.setdefault((period, feature), {})
        used[index] = used.get(index, Fraction(0)) + quantity
        return self.charge(period, feature) - before
