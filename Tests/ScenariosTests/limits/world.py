"""What limits and admissions of the service must come to, written from docs/rules.md and openapi/openapi.yaml alone.

All prices here rise with the quantity. Where the rules leave open what an overshoot is, it is None, and what else they
leave open `World.is_open_question` says.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

import scopes
from costs import PriceBook, Tokens
from plans import Tenant, highest
from rates import Rates

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


def plus(hold, more, times=1):
    """Two amounts, or quantities of things, together."""
    if isinstance(hold, dict):
        return {key: hold.get(key, Fraction(0)) + times * more.get(key, Fraction(0)) for key in hold | more}
    return hold + times * more


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


@dataclass(eq=False)
class Row:
    scope: dict
    window: tuple
    used: Fraction = Fraction(0)
    overshoot: Fraction = Fraction(0)
    holds: dict = field(default_factory=dict)
    alerted: set = field(default_factory=set)

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
    is_own: bool = False
    overage: str = None
    thresholds: list = field(default_factory=lambda: [50, 80, 100])
    rows: dict = field(default_factory=dict)

    def counts(self, instant):
        """Whether usage of then: a budget counts from its creation on."""
        return self.origin != "budget" or instant >= self.created

    @property
    def lets_pass(self):
        """Whether it refuses nothing: a soft one, and a hard quota beyond which the plan's price is charged."""
        return self.mode == "soft" or self.overage == "allowed"

    @property
    def is_wide(self):
        """On all that a tenant is charged: it follows the tenant's tiers."""
        return self.measure == "charge" and set(self.scope) == {"tenant"}


@dataclass(eq=False)
class Call:
    """A call that asks, or an event. One with tokens is of a model, which has a price. Where it asked for more than
    fits, `tokens` are those that it was left."""
    id: str
    tenant: Tenant
    seconds: Fraction
    data: dict
    tokens: Tokens = None
    ttl: int = None
    criticality: str = None
    asked: Tokens = None
    min_output: int = None
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
        """What each feature counts of it."""
        found = {"seconds": self.seconds, "jobs": Fraction(1)}
        if self.tokens:
            found |= {"tokens": self.tokens.total, "llm": Fraction(1)}
        return {**found, "big": self.seconds} if self.data.get("model") == BIG_MODEL else found

    @property
    def max_output(self):
        return self.tokens and self.tokens.output

    def charged(self, cost):
        """What the price of each feature is of: `llm` follows the provider cost."""
        return {**self.features, "llm": cost} if self.tokens else self.features

    def body(self):
        seconds = int(self.seconds) if self.seconds.denominator == 1 else float(self.seconds)
        tokens = (self.asked or self.tokens).data() if self.tokens else {}
        body = {"subject": self.tenant.key, "type": "llm.call" if self.tokens else "job.done", "source": "gw",
                "id": self.id, "data": {"seconds": seconds, **self.data, **tokens}}
        body |= {"ttl_seconds": self.ttl} if self.ttl else {}
        body |= {"min_output_tokens": self.min_output} if self.min_output else {}
        body |= {"criticality": self.criticality} if self.criticality else {}
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


@dataclass
class Alert:
    """That a threshold was crossed, with what the limit was then."""
    raised: datetime
    limit: Limit
    row: Row
    threshold: int
    amount: Fraction
    mode: str


class World:
    """What the service must come to, without its clock's and its network's accidents."""

    def __init__(self):
        self.now, self.price_book, self.rates = START, PriceBook(), Rates()
        self.tenants, self.limits, self.reservations, self.events = {}, [], [], []
        self.ended_quotas, self.alerts = {}, []

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
        """Those that count an event, which has a time, or what a call asks for."""
        places = [(limit, scopes.place(limit.scope, call)) for limit in self.limits
                  if not limit.archived and limit.counts(call.time or self.now)]
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
        return tenant.charge(period, feature, quantity) - tenant.charge(period, feature)

    def cost(self, call):
        """What an event costs, which has a time."""
        return self.price_book.cost(call.data, call.tokens, call.time) if call.tokens else Fraction(0)

    def costs_within(self, call, window, start, end):
        """All that a call may cost in the part of a window in which it is held."""
        start, end = max(start, window[0] or start), min(end, window[1] or end)
        return self.price_book.costs(call.data, call.tokens, start, end) if call.tokens else {Fraction(0)}

    def periods_within(self, call, window, start, end):
        """The billing periods of the part of a window in which a call is held, in each of which it may be charged."""
        start, end = max(start, window[0] or start), min(end, window[1] or end)
        return [period for period in call.tenant.periods if period[0] < end and period[1] > start]

    def taken(self, limit, call, window, start, end):
        if limit.measure == "requests":
            return Fraction(1)
        if limit.measure == "units":
            return call.features[limit.scope["feature"]]
        cost = max(self.costs_within(call, window, start, end))
        if limit.measure == "cost":
            return cost
        quantities = call.charged(cost)
        if limit.is_wide:
            return {(call.tenant.key, period[0], feature): quantity for feature, quantity in quantities.items()
                    for period in self.periods_within(call, window, start, end)}
        charged = [limit.scope["feature"]] if "feature" in limit.scope else quantities
        return sum((highest(call.tenant.prices[feature], quantities[feature]) for feature in charged), Fraction(0))

    def claims(self, call, start, end, reservation=None):
        """What is to be held until `end`, beside what is held already: of a budget that was made after the call in
        windows that it enters only."""
        found = []
        for limit, place in self.concerning(call):
            had = self.windows(limit, call.tenant, start, reservation.expires) if reservation else []
            for window in self.windows(limit, call.tenant, start, end):
                amount = self.taken(limit, call, window, start, end)
                if window not in had:
                    found.append(Claim(limit, place, window, amount))
                elif reservation in self.peek(limit, place, window).holds:
                    before = self.taken(limit, call, window, start, reservation.expires)
                    if amount != before:
                        found.append(Claim(limit, place, window, plus(amount, before, -1)))
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
            had = row.holds.get(reservation)
            row.holds[reservation] = claim.amount if had is None else plus(had, claim.amount)
            if self.is_replaced(claim.limit, reservation.call):
                row.overshoot = None

    def is_open_question(self, call, start, end):
        """Whether the rules don't say what is held: where a reservation ends just as a window or billing period does,
        it takes nothing of a later window in which nothing is left, or a plan begins meanwhile, or a price of providers
        that not all windows and billing periods of a limit on charges reach."""
        if call.tenant.pending and end >= call.tenant.pending[0].start or end == call.tenant.period(end)[0]:
            return True
        is_in_one_period = call.tenant.period(start) == call.tenant.period(end)
        for limit, _ in self.concerning(call):
            windows = self.windows(limit, call.tenant, start, end)
            if windows[-1][1] == end:
                return True
            is_in_one = windows == [self.window(limit, call.tenant, end)] and (is_in_one_period or not limit.is_wide)
            if limit.measure == "charge" and not is_in_one and self.is_repriced(call, start, end):
                return True
        later = [claim for claim in self.claims(call, start, end) if claim.window[0] and claim.window[0] > self.now]
        return any(self.room(claim) <= 0 and self.growth(claim) == 0 for claim in later)

    def open_calls(self, tenant=None):
        """Those that have not expired."""
        return [one for one in self.reservations if one.status == "held" and one.expires > self.now
                and tenant in (None, one.call.tenant)]

    def hold_anew(self, tenant=None):
        """What open calls can cost by a plan or a price that was changed, where that is more; beyond a limit it is
        overshoot. Quotas that have come into force hold them, and newer budgets don't."""
        for reservation in self.open_calls(tenant):
            call, start, end = reservation.call, reservation.created, reservation.expires
            for limit, place in self.concerning(call):
                for window in self.windows(limit, call.tenant, start, end):
                    if limit.counts(start) and not (window[1] and window[1] <= self.now):
                        amount = self.taken(limit, call, window, self.now, end)
                        self.hold_more(limit, self.row(limit, place, window), reservation, amount)

    def hold_more(self, limit, row, reservation, amount):
        if limit.is_wide:
            had = row.holds.get(reservation, {})
            row.holds[reservation] = had | {key: max(had.get(key, amount[key]), amount[key]) for key in amount}
        else:
            row.holds[reservation] = max(row.holds.get(reservation, amount), amount)
        if row.overshoot is not None and row.used + self.held(limit, row) - row.overshoot > limit.amount:
            row.overshoot = None if limit.lets_pass else row.used + self.held(limit, row) - limit.amount

    def is_repriced(self, call, start, end):
        """Whether what it would cost changes while it can be settled."""
        return len(self.costs_within(call, (None, None), start, end)) > 1

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
        quantities = event.charged(self.cost(event))
        added = {feature: event.tenant.add(event.time, feature, quantity) for feature, quantity in quantities.items()}
        for limit, place in self.concerning(event):
            row = self.row(limit, place, self.window(limit, event.tenant, event.time))
            amount = self.counted(limit, event, added)
            row.used += amount
            event.counts.append((limit, row, amount))
            if not limit.is_wide:
                self.settle_row(row, reservation, amount, event.is_partial)
            elif event.is_partial and reservation in row.holds:
                period = event.tenant.period(event.time)[0]
                row.holds[reservation] = {key: max(Fraction(0), held - quantities[key[2]]) if key[1] == period else held
                                          for key, held in row.holds[reservation].items()}
            if self.is_replaced(limit, event):
                row.overshoot = None
        if reservation:
            reservation.has_parts = True
            if not event.is_partial:
                self.close(reservation, "settled")

    def counted(self, limit, event, charges):
        if limit.measure == "charge":
            return charges[limit.scope["feature"]] if "feature" in limit.scope else sum(charges.values(), Fraction(0))
        if limit.measure == "cost":
            return self.cost(event)
        return event.features[limit.scope["feature"]] if limit.measure == "units" else Fraction(1)

    def settle_row(self, row, reservation, amount, is_partial):
        hold = row.holds.get(reservation, Fraction(0))
        row.goes_beyond(amount - hold)
        if is_partial and reservation in row.holds:
            row.holds[reservation] = max(Fraction(0), hold - amount)

    def void(self, event):
        event.is_void = True
        before, quantities = self.wide_sums(), event.charged(self.cost(event))
        off = {feature: -event.tenant.add(event.time, feature, -quantity) for feature, quantity in quantities.items()}
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
            if row not in counted and row.overshoot is not None:
                row.overshoot = max(Fraction(0), row.overshoot + total - before[row])

    def change(self, limit, amount, mode, overage=None):
        """What exceeds a changed amount is overshoot, in a soft limit too, and what exceeds one that comes to refuse.
        Of rows that are past it is not told which amount they alert by."""
        if (amount, mode, overage) == (limit.amount, limit.mode, limit.overage):
            return
        is_changed = amount != limit.amount
        limit.amount, limit.mode, limit.overage = amount, mode, overage
        for row in limit.rows.values():
            if self.is_past(row):
                row.alerted = None
                continue
            if row.overshoot is not None and (is_changed or not limit.lets_pass):
                row.goes_beyond(row.used + self.held(limit, row) - row.overshoot - amount)
            if row.alerted is not None:
                row.alerted &= self.met(limit, row)

    def met(self, limit, row):
        return {threshold for threshold in limit.thresholds if row.used * 100 >= limit.amount * threshold}

    def alert(self):
        """Tells of the thresholds that have come to be met. None of a limit in whose place another one stands, and of
        one in whose place another one stood it is not told."""
        for limit in self.limits:
            for row in limit.rows.values() if not limit.archived else []:
                if self.stands_apart(limit, row):
                    row.alerted = None
                elif row.alerted is not None:
                    new = self.met(limit, row) - row.alerted
                    row.alerted |= new
                    self.alerts += [Alert(self.now, limit, row, threshold, limit.amount, limit.mode)
                                    for threshold in new]

    def stands_apart(self, limit, row):
        """Whether another budget stands in place of this one for a row."""
        return any(other.overrides == limit.key and not other.archived and scopes.is_within(row.scope, other.scope)
                   for other in self.limits)

    def change_plan(self, tenant, segment, quotas, cap):
        """Quotas keep what was used and take the new amounts, but for those of the tenant's own."""
        tenant.segments.append(segment)
        amounts = {(quota["feature"], quota["window"]): quota for quota in quotas}
        for limit in [limit for limit in self.limits if limit.origin == "quota" and limit.tenant is tenant]:
            quota = amounts.pop((limit.key, limit.kind), None)
            if limit.is_own:
                self.change(limit, limit.amount, quota["mode"] if quota else "hard", quota and quota.get("overage"))
            elif quota:
                self.change(limit, Fraction(quota["limit"]), quota["mode"], quota.get("overage"))
            else:
                limit.archived = True
                self.limits.remove(limit)
                self.ended_quotas[tenant.key, limit.key, limit.kind] = limit
        for quota in amounts.values():
            self.add_quota(tenant, quota)
        for limit in self.limits:
            if limit.origin == "spend_cap" and limit.tenant is tenant:
                self.change(limit, Fraction(cap["amount"]), cap["mode"])

    def add_quota(self, tenant, quota):
        """Counts also what was used before; how much of that is overshoot is not told, nor what past windows alert of.
        One that was in force before has alerted in the window already."""
        scope = {"tenant": tenant.key, "feature": quota["feature"]}
        limit = Limit(quota["feature"], "quota", "units", scope, Fraction(quota["limit"]), quota["mode"],
                      quota["window"], self.now, tenant, overage=quota.get("overage"))
        self.limits.append(limit)
        for event in self.events:
            if event.tenant is tenant and quota["feature"] in event.features and not event.is_void:
                row = self.row(limit, scope, self.window(limit, tenant, event.time))
                amount = event.features[quota["feature"]]
                row.used, row.overshoot = row.used + amount, None
                event.counts.append((limit, row, amount))
        ended = self.ended_quotas.get((tenant.key, limit.key, limit.kind), limit)
        for key, row in limit.rows.items():
            alerted = ended.rows.get(key, row).alerted
            row.alerted = None if alerted is None or self.is_past(row) else alerted & self.met(limit, row)

    def begin_pending(self):
        """Puts the plans in force that were to begin until now."""
        for tenant in self.tenants.values():
            if tenant.pending and tenant.pending[0].start <= self.now:
                pending, tenant.pending = tenant.pending, None
                self.change_plan(tenant, *pending)

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.begin_pending()
        for reservation in self.reservations:
            if reservation.status == "held" and reservation.expires + SUSPENSE <= self.now:
                self.close(reservation, "expired")

    def is_past(self, row):
        return row.window[1] is not None and row.window[1] <= self.now

    def check(self):
        """What must be so at every commit."""
        for rate in self.rates:
            assert all(0 <= left < rate.burst for _, left, _ in rate.rows(self.now)), rate
        for limit in self.limits:
            for row in limit.rows.values():
                if not limit.lets_pass and not limit.archived and row.overshoot is not None and not self.is_past(row):
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
                    charges = [limit.tenant.charge(row.window[0], feature) for feature in limit.tenant.prices]
                    assert row.used == sum(charges), (limit, row)
