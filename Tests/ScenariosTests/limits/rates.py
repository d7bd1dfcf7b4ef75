"""Rates: what comes at once, and one more as each part of a period passes, from docs/rules.md, chapter Limits."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor

import scopes

PERIODS = {"minute": 60, "hour": 3600, "day": 86_400}
MICROSECOND = timedelta(microseconds=1)


@dataclass(eq=False)
class Rate:
    """`full_at` has when each row is full again, in microseconds after `epoch`."""
    key: str
    measure: str
    scope: dict
    limit: int
    period: str
    burst: int
    percents: dict
    epoch: datetime
    overrides: str = None
    archived: bool = False
    full_at: dict = field(default_factory=dict)

    @property
    def part(self):
        """In how many microseconds a unit comes back."""
        return Fraction(PERIODS[self.period] * 10**6, self.limit)

    def taken(self, call):
        return 1 if self.measure == "requests" else int(call.tokens.total)

    def share(self, criticality):
        """Bursts here are such that it is whole."""
        return max(1, self.burst * self.percents[criticality] // 100)

    def used(self, place, now):
        full_at = self.full_at.get(json.dumps(place, sort_keys=True), 0)
        return max(Fraction(0), full_at - self.since_epoch(now)) / self.part

    def since_epoch(self, now):
        return Fraction((now - self.epoch) // MICROSECOND)

    def room(self, call, place, now):
        return self.share(call.criticality or "default") - self.used(place, now)

    def refuses(self, call, place, now):
        return self.taken(call) > self.room(call, place, now)

    def wait(self, call, place, now):
        """After how many seconds it has room for the call; None for never."""
        if self.taken(call) > self.share(call.criticality or "default"):
            return None
        return ceil((self.taken(call) - self.room(call, place, now)) * self.part / 10**6)

    def take(self, call, place, now):
        used = self.used(place, now) + self.taken(call)
        self.full_at[json.dumps(place, sort_keys=True)] = self.since_epoch(now) + used * self.part

    def change(self, limit, now):
        """What is used stays as many units."""
        used = {place: self.used(json.loads(place), now) for place in self.full_at}
        self.limit = limit
        self.full_at = {place: self.since_epoch(now) + units * self.part for place, units in used.items()}

    def rows(self, now):
        """Scope, what is left, and when it is full, of those that are not."""
        found = []
        for key, full_at in self.full_at.items():
            place, instant = json.loads(key), self.epoch + timedelta(microseconds=ceil(full_at))
            if self.used(place, now):
                found.append((place, floor(self.burst - self.used(place, now)), instant))
        return found

    def body(self):
        usual = {"sheddable": 80, "default": 95, "critical": 100}
        rate = {"limit": self.limit, "period": self.period, "burst": self.burst}
        rate |= {f"{name}_percent": percent for name, percent in self.percents.items() if percent != usual[name]}
        body = {"key": self.key, "scope": self.scope, "measure": self.measure, "rate": rate}
        return body | ({"overrides": self.overrides} if self.overrides else {})


class Rates(list):
    """All of a story."""

    def in_force(self):
        return [rate for rate in self if not rate.archived]

    def concerning(self, call):
        """Without those in whose place another one stands."""
        found = [(rate, scopes.place(rate.scope, call)) for rate in self.in_force()]
        found = [(rate, place) for rate, place in found if place is not None]
        replaced = {rate.overrides for rate, _ in found}
        return [(rate, place) for rate, place in found if rate.key not in replaced]

    def refusing(self, call, now):
        return [(rate, place) for rate, place in self.concerning(call) if rate.refuses(call, place, now)]

    def take(self, call, now):
        for rate, place in self.concerning(call):
            rate.take(call, place, now)
