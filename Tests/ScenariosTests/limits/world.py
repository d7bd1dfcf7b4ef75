"""What limits and admissions of the service must come to, written from docs/rules.md and openapi/openapi.yaml alone.

What the rules leave open, or is not told here, `World.is_open_question` says, and `None` of what a row has alerted.
"""

import json
from datetime import timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import scopes
from costs import PriceBook
from plans import highest
from rates import Rates
from records import MICROSECOND, START, SUSPENSE, Alert, Claim, Limit, Row, calendar_window, plus


class World:
    """What the service must come to, without its clock's and its network's accidents."""

    def __init__(self):
        self.now, self.price_book, self.rates = START, PriceBook(), Rates()
        self.tenants, self.limits, self.reservations, self.events = {}, [], [], []
        self.alerts, self.is_rising = [], True

    def window(self, limit, tenant, instant):
        if limit.kind == "billing_period":
            return tenant.period(instant)
        return calendar_window(limit.kind, tenant.zone if "tenant" in limit.scope else ZoneInfo("UTC"), instant)

    def windows(self, limit, tenant, start, end):
        """Those that begin until a reservation expires, at that instant too; of minutes and hours the first only."""
        found = [self.window(limit, tenant, start)]
        while found[-1][1] and found[-1][1] <= end and limit.kind not in ("minute", "hour"):
            found.append(self.window(limit, tenant, found[-1][1]))
        return found

    def concerning(self, call):
        """Those that count an event, which has a time, or what a call asks for."""
        places = [(limit, scopes.place(limit.scope, call)) for limit in self.limits
                  if not limit.archived and limit.counts(call.time or self.now) and (call.time or not limit.is_out)]
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
            for (tenant, period, index, feature), quantity in hold.items():
                of_segments = together.setdefault((tenant, period, feature), {})
                of_segments[index] = of_segments.get(index, Fraction(0)) + quantity
        return sum((self.tenants[tenant].held(period, feature, of_segments)
                    for (tenant, period, feature), of_segments in together.items()), Fraction(0))

    def moments(self, window, start, end):
        """The first and the last one of a window at which a call is held, from `start` to `end`, both included."""
        last = window[1] - MICROSECOND if window[1] and window[1] <= end else end
        return max(start, window[0] or start), last

    def costs_within(self, call, window, start, end):
        """All that a call may cost in the part of a window in which it is held."""
        start, end = self.moments(window, start, end)
        return self.price_book.costs(call.data, call.tokens, start, end) if call.tokens else {Fraction(0)}

    def highest_charge(self, features, call, window, start, end):
        """The most that these features of a call can cost at one moment, wherever in the tenant's tiers it falls."""
        start, end = self.moments(window, start, end)
        starts = {price.start for price in self.price_book.prices} | {one.start for one in call.tenant.known_segments}
        found = []
        for instant in {start, *[instant for instant in starts if start < instant <= end]}:
            cost = self.price_book.cost(call.data, call.tokens, instant) if call.tokens else Fraction(0)
            quantities, prices = call.charged(cost), call.tenant.prices_at(instant)
            found.append(sum((highest(prices[feature], quantities[feature]) for feature in features or quantities),
                             Fraction(0)))
        return max(found)

    def charged_within(self, call, window, start, end):
        """What a call takes of each billing period, and plan by its place, of the part of a window in which it is held:
        of each by the highest cost of the moments in it."""
        start, end = self.moments(window, start, end)
        taken = {}
        for first, last in call.tenant.periods:
            begin, until = max(first, start), min(last - MICROSECOND, end)
            if begin <= until:
                for index, moments in call.tenant.segments_within(begin, until):
                    costs = self.price_book.costs(call.data, call.tokens, *moments) if call.tokens else [Fraction(0)]
                    taken[first, index] = call.charged(max(costs))
        return taken

    def taken(self, limit, call, window, start, end):
        if limit.measure == "requests":
            return Fraction(1)
        if limit.measure == "units":
            return call.features[limit.scope["feature"]]
        if limit.measure == "cost":
            return max(self.costs_within(call, window, start, end))
        if limit.is_wide:
            return {(call.tenant.key, *place, feature): quantity
                    for place, quantities in self.charged_within(call, window, start, end).items()
                    for feature, quantity in quantities.items()}
        features = [limit.scope["feature"]] if "feature" in limit.scope else None
        return self.highest_charge(features, call, window, start, end)

    def claims(self, call, start, end, reservation=None):
        """What is to be held until `end`, beside what is held already: of a budget that was made after the call in
        windows that it enters only."""
        found = []
        for limit, place in self.concerning(call):
            if self.is_replaced(limit, call):
                continue
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
            if room <= 0 or self.growth(claim) > room:
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

    def is_open_question(self, call, start, end):
        """Whether it is not told here what is held: where a plan begins meanwhile that budgets name, or charges do not
        rise with the quantity."""
        has_plan = any("plan" in limit.scope for limit in self.limits)
        is_hard = has_plan or not self.is_rising
        return bool(call.tenant.pending and end >= call.tenant.pending[0].start and is_hard)

    def open_calls(self, tenant=None):
        """Those that have not expired."""
        return [one for one in self.reservations if one.status == "held" and one.expires > self.now
                and tenant in (None, one.call.tenant)]

    def end_override(self, override):
        """What stood in its place denies again, and open calls hold of it."""
        override.archived = True
        default = next(limit for limit in self.limits if limit.key == override.overrides)
        for row in default.rows.values():
            row.is_waiting |= scopes.is_within(row.scope, override.scope)
        self.hold_anew(limits=[default])

    def hold_anew(self, tenant=None, limits=None, has_begun=False):
        """What open calls can cost by a plan or a price that was changed, where that is more; beyond a limit that
        refuses it is overshoot. Quotas that have come into force hold them, and newer budgets don't."""
        for reservation in sorted(self.open_calls(tenant), key=lambda one: one.expires):
            call, start, end = reservation.call, reservation.created, reservation.expires
            for limit, place in self.concerning(call):
                if self.is_replaced(limit, call) or limit not in (limits or [limit]):
                    continue
                for window in self.windows(limit, call.tenant, start, end):
                    if limit.is_older(reservation) and not (window[1] and window[1] <= self.now):
                        amount = self.taken(limit, call, window, self.now, end)
                        row = self.row(limit, place, window)
                        if has_begun and limit.is_wide:
                            self.move(limit, row, reservation, amount)
                        else:
                            self.hold_more(limit, row, reservation, amount)

    def move(self, limit, row, reservation, amount):
        """What is held under the plan of before is held under the one that begins, where more is held in all then."""
        had, tenant = row.holds.get(reservation, {}), reservation.call.tenant
        held, last = self.held(limit, row), len(tenant.segments) - 1
        row.holds[reservation] = dict(amount)
        for (key, period, _, feature), quantity in had.items():
            place = key, period, last, feature
            row.holds[reservation][place] = max(quantity, row.holds[reservation].get(place, quantity))
        if self.held(limit, row) <= held:
            row.holds[reservation] = had
        self.hold_more(limit, row, reservation, {})

    def hold_more(self, limit, row, reservation, amount):
        if limit.is_wide:
            had = row.holds.get(reservation, {})
            row.holds[reservation] = had | {key: max(had.get(key, amount[key]), amount[key]) for key in amount}
        else:
            row.holds[reservation] = max(row.holds.get(reservation, amount), amount)
        if not limit.lets_pass:
            row.goes_beyond(row.used + self.held(limit, row) - row.overshoot - limit.amount)

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
            event.cost = self.price_book.cost(event.data, event.tokens, event.time) if event.tokens else Fraction(0)
            reservation = event.reservation
            settles = reservation and reservation.status == "held" and reservation.call.tenant is event.tenant
            unsettled += bool(reservation and not settles)
            self.count(event, reservation if settles else None)
            self.events.append(event)
        self.grow(before)
        return unsettled

    def count(self, event, reservation):
        quantities = event.charged(event.cost)
        added = {feature: event.tenant.add(event.time, feature, quantity) for feature, quantity in quantities.items()}
        for limit, place in self.concerning(event):
            row = self.row(limit, place, self.window(limit, event.tenant, event.time))
            amount = self.counted(limit, event, added)
            self.catch_up(limit, row)
            row.used, row.is_waiting = row.used + amount, False
            event.counts.append((limit, row, amount))
            if not limit.is_wide:
                self.settle_row(row, reservation, amount, event.is_partial)
            elif event.is_partial and reservation in row.holds:
                place = event.tenant.period(event.time)[0], event.tenant.segment(event.time)
                row.holds[reservation] = {
                    key: max(Fraction(0), held - quantities[key[3]]) if key[1:3] == place else held
                    for key, held in row.holds[reservation].items()}
        if reservation:
            reservation.has_parts = True
            if not event.is_partial:
                self.close(reservation, "settled")

    def counted(self, limit, event, charges):
        if limit.measure == "charge":
            return charges[limit.scope["feature"]] if "feature" in limit.scope else sum(charges.values(), Fraction(0))
        if limit.measure == "cost":
            return event.cost
        return event.features[limit.scope["feature"]] if limit.measure == "units" else Fraction(1)

    def settle_row(self, row, reservation, amount, is_partial):
        hold = row.holds.get(reservation, Fraction(0))
        row.goes_beyond(amount - hold)
        if is_partial and reservation in row.holds:
            row.holds[reservation] = max(Fraction(0), hold - amount)

    def void(self, event):
        event.is_void = True
        before, quantities = self.wide_sums(), event.charged(event.cost)
        off = {feature: -event.tenant.add(event.time, feature, -quantity) for feature, quantity in quantities.items()}
        for limit, row, _ in event.counts:
            if limit.archived:
                continue
            self.catch_up(limit, row)
            if row.is_waiting and self.met(limit, row) - (row.alerted or set()):
                row.alerted = None
            if limit.is_wide:
                row.used = max(Fraction(0), row.used - self.counted(limit, event, off))
            else:
                row.takes_out(self.counted(limit, event, off))
        for row, total in self.wide_sums().items():
            row.overshoot = max(Fraction(0), row.overshoot + total - before[row])

    def change(self, limit, amount, mode, overage=None, thresholds=None):
        """What exceeds it then is overshoot, in a soft limit too. Windows that are over take it later."""
        thresholds = limit.thresholds if thresholds is None else thresholds
        if (amount, mode, overage, thresholds) == (limit.amount, limit.mode, limit.overage, limit.thresholds):
            return
        for row in limit.rows.values():
            if row.is_waiting and self.met(limit, row) - (row.alerted or set()):
                row.alerted = None
        limit.amount, limit.mode, limit.overage, limit.thresholds = amount, mode, overage, thresholds
        for row in limit.rows.values():
            if self.is_past(row):
                row.is_behind = True
                continue
            row.goes_beyond(row.used + self.held(limit, row) - row.overshoot - amount)
            if row.alerted is not None:
                row.alerted = self.met(limit, row, row.alerted)

    def catch_up(self, limit, row):
        """In a window that is over usage and voids take what was changed. What that alone had met doesn't alert."""
        if row.is_behind and row.alerted is not None:
            row.alerted = self.met(limit, row, row.alerted)
            row.quiet = self.met(limit, row) - row.alerted
        row.is_behind = False

    def met(self, limit, row, thresholds=None):
        thresholds = limit.thresholds if thresholds is None else thresholds
        return {threshold for threshold in thresholds if row.used * 100 >= limit.amount * threshold}

    def alert(self):
        """Tells of the thresholds that have come to be met. None of a limit in whose place another one stands."""
        for limit in self.limits:
            for row in limit.rows.values() if not (limit.archived or limit.is_out) else []:
                if row.alerted is None or row.is_waiting or row.is_behind or self.stands_apart(limit, row):
                    continue
                met = self.met(limit, row)
                row.quiet &= met
                new = met - row.alerted - row.quiet
                row.alerted |= new
                self.alerts += [Alert(self.now, limit, row, threshold, limit.amount, limit.mode) for threshold in new]

    def stands_apart(self, limit, row):
        """Whether another budget stands in place of this one for a row."""
        return any(other.overrides == limit.key and not other.archived and scopes.is_within(row.scope, other.scope)
                   for other in self.limits)

    def change_plan(self, tenant, segment, quotas, cap):
        """Quotas keep what was used and take the new amounts, but for those of the tenant's own. One that the plan does
        not have goes out of force, and on from there when a plan has it again."""
        tenant.segments.append(segment)
        amounts = {(quota["feature"], quota["window"]): quota for quota in quotas}
        for limit in [limit for limit in self.limits if limit.origin == "quota" and limit.tenant is tenant]:
            quota = amounts.pop((limit.key, limit.kind), None)
            if limit.is_own:
                self.change(limit, limit.amount, quota["mode"] if quota else "hard", quota and quota.get("overage"))
            elif quota:
                self.change(limit, Fraction(quota["limit"]), quota["mode"], quota.get("overage"))
            for row in limit.rows.values() if limit.is_out else []:
                if self.is_past(row) and row.alerted is not None and self.met(limit, row) - row.alerted:
                    row.alerted = None
            limit.is_out = not (quota or limit.is_own)
        for quota in amounts.values():
            self.add_quota(tenant, quota, segment.start)
        for limit in self.limits:
            if limit.origin == "spend_cap" and limit.tenant is tenant:
                self.change(limit, Fraction(cap["amount"]), cap["mode"])

    def add_quota(self, tenant, quota, begins):
        """Counts what was used before in the window in which its plan begins, as overshoot, and in later ones."""
        scope = {"tenant": tenant.key, "feature": quota["feature"]}
        limit = Limit(quota["feature"], "quota", "units", scope, Fraction(quota["limit"]), quota["mode"],
                      quota["window"], self.now, tenant, overage=quota.get("overage"))
        limit.since = self.window(limit, tenant, begins)[0]
        self.limits.append(limit)
        for event in self.events:
            if event.tenant is tenant and quota["feature"] in event.features and not event.is_void:
                if limit.counts(event.time):
                    row = self.row(limit, scope, self.window(limit, tenant, event.time))
                    amount = event.features[quota["feature"]]
                    row.used, row.overshoot = row.used + amount, row.overshoot + amount
                    event.counts.append((limit, row, amount))

    def begin_pending(self):
        """Puts the plans in force that were to begin until now, and says whose."""
        begun = []
        for tenant in self.tenants.values():
            if tenant.pending and tenant.pending[0].start <= self.now:
                pending, tenant.pending = tenant.pending, None
                self.change_plan(tenant, *pending)
                begun.append(tenant)
        return begun

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        for tenant in self.begin_pending():
            self.hold_anew(tenant)
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
                if not (limit.lets_pass or limit.archived or limit.is_out or self.is_past(row)):
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
