"""What limits and admissions of the service must come to, written from docs/rules.md and openapi/openapi.yaml alone.

All prices here rise with the quantity. Where the rules leave open what an overshoot is, it is None, and what else they
leave open `World.is_open_question` says.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from functools import cached_property
from math import ceil
from zoneinfo import ZoneInfo

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
SUSPENSE = timedelta(minutes=60)
LONGEST_LIFE = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)
FEATURES = {"seconds": "seconds", "jobs": "jobs", "big": "seconds"}
BIG_MODEL = "m-large"


def text(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number(value):
    """Compared by number. Digits beyond the twelfth are cut off."""
    digits = str(int(value * 10**12)).rjust(13, "0")
    return {"number": f"{digits[:-12]}.{digits[-12:]}".rstrip("0").rstrip(".")}


def charge(price, quantity):
    """What a total of a feature costs in a period."""
    if price["model"] == "per_unit":
        return quantity * Fraction(price["unit_amount"])
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
    last = price if price["model"] == "per_unit" else price["tiers"][-1]
    return quantity * Fraction(last["unit_amount"])


def calendar_window(kind, zone, instant):
    """None for what has no bound. Not for the hours around a change of clocks."""
    if kind == "lifetime":
        return None, None
    first = instant.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
    first = first if kind == "minute" else first.replace(minute=0)
    first = first if kind in ("minute", "hour") else first.replace(hour=0)
    if kind == "week":
        first -= timedelta(days=first.weekday())
    if kind == "month":
        first = first.replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1)
    else:
        last = first + {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1),
                        "week": timedelta(days=7)}[kind]
    return tuple(local.replace(tzinfo=zone).astimezone(timezone.utc) for local in (first, last))


@dataclass
class Tenant:
    key: str
    zone: ZoneInfo
    anchor: datetime
    plan: str
    prices: dict
    totals: dict = field(default_factory=dict)

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


@dataclass(eq=False)
class Row:
    scope: dict
    window: tuple
    used: Fraction = Fraction(0)
    overshoot: Fraction = Fraction(0)
    holds: dict = field(default_factory=dict)

    def goes_beyond(self, excess):
        """Notes what no admission allowed; None once it can't be told."""
        if self.overshoot is not None:
            self.overshoot += max(Fraction(0), excess)

    def takes_out(self, voided):
        self.used = max(Fraction(0), self.used - voided)
        if self.overshoot is not None:
            self.overshoot = max(Fraction(0), self.overshoot - voided)


@dataclass(eq=False)
class Limit:
    key: str
    origin: str
    measure: str
    scope: dict
    amount: Fraction
    mode: str
    kind: str
    created: datetime
    tenant: Tenant = None
    overrides: str = None
    archived: bool = False
    was_soft: bool = False
    rows: dict = field(default_factory=dict)

    @property
    def is_wide(self):
        """On all that a tenant is charged: it follows the tenant's tiers."""
        return self.measure == "charge" and set(self.scope) == {"tenant"}

    def place(self, call):
        """The scope with the call's values in place of `*`; None where the call is not within it."""
        found = {}
        for name, pattern in self.scope.items():
            value = call.values.get(name)
            if name == "feature":
                value = pattern if pattern in call.features else None
            is_prefix = name == "model" and pattern.endswith("*") and (value or "").startswith(pattern[:-1])
            if value is None or not (pattern in ("*", value) or is_prefix):
                return None
            found[name] = value if pattern == "*" else pattern
        return found


@dataclass(eq=False)
class Call:
    """A call that asks, or an event."""
    id: str
    tenant: Tenant
    seconds: Fraction
    data: dict
    ttl: int = None
    time: datetime = None
    stored: datetime = None
    reservation: "Reservation" = None
    is_partial: bool = False
    counts: list = field(default_factory=list)
    is_void: bool = False

    @property
    def values(self):
        return {**self.data, "tenant": self.tenant.key, "plan": self.tenant.plan}

    @property
    def features(self):
        found = {"seconds": self.seconds, "jobs": Fraction(1)}
        return {**found, "big": self.seconds} if self.data.get("model") == BIG_MODEL else found

    def body(self):
        seconds = int(self.seconds) if self.seconds.denominator == 1 else float(self.seconds)
        body = {"subject": self.tenant.key, "type": "job.done", "source": "gw", "id": self.id,
                "data": {"seconds": seconds, **self.data}}
        body |= {"ttl_seconds": self.ttl} if self.ttl else {}
        body |= {"time": text(self.time)} if self.time and self.time != self.stored else {}
        body |= {"reservationid": f"${{{self.reservation.name}}}"} if self.reservation else {}
        return body | ({"reservationpartial": True} if self.is_partial else {})


@dataclass(eq=False)
class Reservation:
    name: str
    call: Call
    created: datetime
    expires: datetime
    status: str = "held"
    closed: datetime = None
    has_parts: bool = False


@dataclass
class Claim:
    """What a call would hold of a limit in one window: an amount, or of a wide limit quantities."""
    limit: Limit
    place: dict
    window: tuple
    amount: object


class World:
    """What the service must come to, without its clock's and its network's accidents."""

    def __init__(self):
        self.now = START
        self.tenants, self.limits, self.reservations, self.events = {}, [], [], []

    def window(self, limit, tenant, instant):
        if limit.kind == "billing_period":
            return tenant.period(instant)
        return calendar_window(limit.kind, tenant.zone if "tenant" in limit.scope else ZoneInfo("UTC"), instant)

    def windows(self, limit, tenant, start, end):
        """Those in which a reservation can be settled until it expires; of minutes and hours the first only."""
        found = [self.window(limit, tenant, start)]
        while found[-1][1] and found[-1][1] < end and limit.kind not in ("minute", "hour"):
            found.append(self.window(limit, tenant, found[-1][1]))
        return found

    def concerning(self, call):
        places = [(limit, limit.place(call)) for limit in self.limits if not limit.archived]
        return [(limit, place) for limit, place in places if place is not None]

    def is_replaced(self, limit, call):
        return any(other.overrides == limit.key for other, _ in self.concerning(call))

    def row(self, limit, place, window):
        key = (json.dumps(place, sort_keys=True), window)
        return limit.rows.setdefault(key, Row(place, window))

    def peek(self, limit, place, window):
        return limit.rows.get((json.dumps(place, sort_keys=True), window), Row(place, window))

    def held(self, limit, row, more=None):
        holds = [*row.holds.values()] + ([] if more is None else [more])
        if not limit.is_wide:
            return sum(holds, Fraction(0))
        together = {}
        for hold in holds:
            for key, quantity in hold.items():
                together[key] = together.get(key, Fraction(0)) + quantity
        return sum((self.costs(*key, quantity) for key, quantity in together.items()), Fraction(0))

    def costs(self, tenant, period, feature, quantity):
        """What so much more of a feature would be charged now. All prices here rise with the quantity."""
        tenant = self.tenants[tenant]
        total = tenant.totals.get((period, feature), Fraction(0))
        return charge(tenant.prices[feature], total + quantity) - charge(tenant.prices[feature], total)

    def taken(self, limit, call, window, start):
        if limit.measure == "requests":
            return Fraction(1)
        if limit.measure == "units":
            return call.features[limit.scope["feature"]]
        if limit.is_wide:
            period = call.tenant.period(max(start, window[0] or start))[0]
            return {(call.tenant.key, period, feature): quantity for feature, quantity in call.features.items()}
        charged = [limit.scope["feature"]] if "feature" in limit.scope else call.features
        return sum((highest(call.tenant.prices[feature], call.features[feature]) for feature in charged), Fraction(0))

    def claims(self, call, start, end, held_until=None):
        """What is to be held until `end`, beside what is held already."""
        found = []
        for limit, place in self.concerning(call):
            had = self.windows(limit, call.tenant, start, held_until) if held_until else []
            for window in self.windows(limit, call.tenant, start, end):
                if window not in had:
                    found.append(Claim(limit, place, window, self.taken(limit, call, window, start)))
        return found

    def exceeded(self, call, claims):
        """The claims for which nothing, or not enough, is left."""
        found = []
        for claim in claims:
            room = self.room(claim)
            if (room <= 0 or self.growth(claim) > room) and not self.is_replaced(claim.limit, call):
                found.append(claim)
        return found

    def room(self, claim):
        row = self.peek(claim.limit, claim.place, claim.window)
        return claim.limit.amount - row.used - self.held(claim.limit, row)

    def growth(self, claim):
        row = self.peek(claim.limit, claim.place, claim.window)
        return self.held(claim.limit, row, claim.amount) - self.held(claim.limit, row)

    def take(self, reservation, claims):
        for claim in claims:
            row = self.row(claim.limit, claim.place, claim.window)
            row.holds[reservation] = claim.amount
            if self.is_replaced(claim.limit, reservation.call):
                row.overshoot = None

    def is_open_question(self, call, start, end, since=None):
        """Whether the rules don't say what is held: where a reservation ends just as a window does, a window has parts
        of two billing periods in which it can be settled, it is extended into windows of a limit that is newer, or
        takes nothing of a later window in which nothing is left."""
        for limit, _ in self.concerning(call):
            windows = self.windows(limit, call.tenant, start, end)
            if windows[-1][1] == end or (since and limit.created > since and len(windows) > 1):
                return True
            if limit.is_wide and any(
                call.tenant.period(max(start, window[0] or start))
                != call.tenant.period(min(end, window[1] or end) - MICROSECOND)
                for window in windows
            ):
                return True
        later = [claim for claim in self.claims(call, start, end) if claim.window[0] and claim.window[0] > self.now]
        return any(self.room(claim) <= 0 and self.growth(claim) == 0 for claim in later)

    def close(self, reservation, status):
        reservation.status, reservation.closed = status, self.now
        for limit in self.limits:
            for row in limit.rows.values():
                row.holds.pop(reservation, None)

    def wide_sums(self):
        return {row: row.used + self.held(limit, row) for limit in self.limits if limit.is_wide and not limit.archived
                for row in limit.rows.values()}

    def grow(self, before):
        """What limits on all charges have grown by without an admission is overshoot."""
        for row, total in self.wide_sums().items():
            row.goes_beyond(total - before.get(row, Fraction(0)))

    def store(self, events):
        """Counts events that are stored together, and says how many settle nothing though they name a reservation."""
        before, unsettled = self.wide_sums(), 0
        for event in events:
            event.stored, event.time = self.now, event.time or self.now
            reservation = event.reservation
            settles = reservation and reservation.status == "held" and reservation.call.tenant is event.tenant
            unsettled += bool(reservation and not settles)
            self.count(event, reservation if settles else None)
            self.events.append(event)
        self.grow(before)
        return unsettled

    def count(self, event, reservation):
        period, added = event.tenant.period(event.time)[0], {}
        for feature, quantity in event.features.items():
            added[feature] = self.costs(event.tenant.key, period, feature, quantity)
        for feature, quantity in event.features.items():
            key = (period, feature)
            event.tenant.totals[key] = event.tenant.totals.get(key, Fraction(0)) + quantity
        for limit, place in self.concerning(event):
            row = self.row(limit, place, self.window(limit, event.tenant, event.time))
            amount = self.counted(limit, event, added)
            row.used += amount
            event.counts.append((limit, row, amount))
            if not limit.is_wide:
                self.settle_row(row, reservation, amount, event.is_partial)
            elif event.is_partial and reservation in row.holds:
                hold = row.holds[reservation]
                row.holds[reservation] = {key: max(Fraction(0), quantity - event.features[key[2]])
                                          for key, quantity in hold.items()}
            if self.is_replaced(limit, event):
                row.overshoot = None
        if reservation:
            reservation.has_parts = True
            if not event.is_partial:
                self.close(reservation, "settled")

    def counted(self, limit, event, charges):
        if limit.measure == "charge":
            return charges[limit.scope["feature"]] if "feature" in limit.scope else sum(charges.values(), Fraction(0))
        return event.features[limit.scope["feature"]] if limit.measure == "units" else Fraction(1)

    def settle_row(self, row, reservation, amount, is_partial):
        hold = row.holds.get(reservation, Fraction(0))
        row.goes_beyond(amount - hold)
        if is_partial and reservation in row.holds:
            row.holds[reservation] = max(Fraction(0), hold - amount)

    def void(self, event):
        event.is_void = True
        period, before, off = event.tenant.period(event.time)[0], self.wide_sums(), {}
        for feature, quantity in event.features.items():
            event.tenant.totals[period, feature] -= quantity
            off[feature] = self.costs(event.tenant.key, period, feature, quantity)
        for limit, row, _ in event.counts:
            if limit.archived:
                continue
            amount = self.counted(limit, event, off)
            if amount > row.used or (limit.is_wide and row.holds):
                row.overshoot = None
            row.takes_out(amount)
            before.pop(row, None)
        counted = {row for _, row, _ in event.counts}
        for row, total in self.wide_sums().items():
            if row not in counted:
                row.goes_beyond(total - before[row])

    def change(self, limit, amount, mode):
        limit.was_soft |= "soft" in (mode, limit.mode)
        limit.amount, limit.mode = amount, mode
        for row in limit.rows.values():
            if row.overshoot is None or self.is_past(row):
                continue
            excess = row.used + self.held(limit, row) - row.overshoot - amount
            if excess > 0:
                row.overshoot = None if limit.was_soft else row.overshoot + excess

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        for reservation in self.reservations:
            if reservation.status == "held" and reservation.expires + SUSPENSE <= self.now:
                self.close(reservation, "expired")

    def is_past(self, row):
        return row.window[1] is not None and row.window[1] <= self.now

    def check(self):
        """What must be so at every commit."""
        for limit in self.limits:
            for row in limit.rows.values():
                if limit.mode == "hard" and not limit.archived and row.overshoot is not None and not self.is_past(row):
                    assert row.used + self.held(limit, row) - row.overshoot <= limit.amount, (limit, row)

    def check_sums(self):
        """What must be so of the whole story: used is the sum of the events, and of a cap what they are charged."""
        sums = {}
        for event in self.events:
            for _, row, amount in event.counts:
                sums[row] = sums.get(row, Fraction(0)) + (0 if event.is_void else amount)
        for limit in self.limits:
            for row in limit.rows.values():
                if limit.measure != "charge" and not limit.archived:
                    assert row.used == sums.get(row, 0), (limit, row)
                if limit.origin == "spend_cap" and row.window in limit.tenant.periods:
                    totals, prices = limit.tenant.totals, limit.tenant.prices
                    charges = [charge(prices[name], totals.get((row.window[0], name), 0)) for name in prices]
                    assert row.used == sum(charges), (limit, row)
