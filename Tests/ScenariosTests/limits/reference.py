"""Prints a random story of limits and admissions with what the service must answer, one step a line.

`reference.py SEED [STEPS]`: JSON Lines of requests to /api/v1 and of advances of the clock. A player sends them to the
service, whose fixed clock starts at 2026-11-23T08:00:00Z and whose zone is UTC:

    {"method": "POST", "path": "/admissions", "body": {...}, "status": 200, "save": {"r1": "/reservation/id"},
     "expect": {"/allowed": true}}       an answer's parts by JSON pointer; `${r1}` stands for what was saved, also here
    {"advance": 90}                      the clock goes on by seconds, and the background work of the service ends:
                                         reservations are given up, and plans begin whose time has come

Expected values are equal to the answer's, but for

    {"number": "12.5"}                   any spelling of the number
    {"set": [...]}                       an array in any order
    {"rows": [{"match": {pointer: value}, "expect": {pointer: value}}], "extra": "none"}
                                         an array: each element that fits a `match` is as expected, and one at least is
                                         there. Elements that fit no `match` may not be (`none`), have zero in each of
                                         /used, /held and /overshoot (`zero`), or are not looked at (no `extra`)
"""

import json
import sys
from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal
from fractions import Fraction

from answers import Answers
from costs import Tokens
from plans import Segment
from records import BIG_MODEL, LONGEST_LIFE, START, SUSPENSE, Call, Limit, Reservation, calendar_window, number, text


OUTPUTS = [0, 20, 50, 100, 200, 350, 700]


class Story(Answers):
    """Draws what happens, tells the world of it, and prints it with what must be answered.

    Not drawn, beside what the world holds for an open question: times of usage before the story began, an array whose
    calls would be answered otherwise in another order, a change of plan to come that is made while calls are open that
    outlast it under a limit on all charges, usage of before a change of plan where prices fall with the quantity, a
    change that calls are held by anew of which something is settled, and calls of models without a price."""

    def new_call(self, tenant=None):
        self.serial += 1
        tenant = tenant or self.random.choice([*self.world.tenants.values()])
        drawn = {"user": self.random.choice(["ann", "ann", "ben", "cleo", None]),
                 "model": self.random.choice([BIG_MODEL, "m-small", "x-1", None]),
                 "cost_center": self.random.choice(["cc-1", "cc-2", None, None])}
        data = {name: value for name, value in drawn.items() if value}
        seconds = Fraction(self.random.choice(["1", "1", "2", "3", "4", "2.5", "0.25", "6", "9", "0"]))
        often = [7201] if "open calls" in self.kinds else [None, None, None]
        ttl = self.random.choice([*often, 61, 600, 3601, 7201, 43201])
        ttl = self.until_an_end(tenant) if self.random.random() < 0.12 else ttl
        criticality = self.random.choice([None, "sheddable", "default", "critical"]) if "rates" in self.kinds else None
        return self.of_model(Call(f"a{self.serial}", tenant, seconds, data, ttl=ttl, criticality=criticality))

    def until_an_end(self, tenant):
        """How long until a window or billing period does."""
        zone, kind = self.random.choice([tenant.zone, timezone.utc]), self.random.choice(["hour", "day", "month"])
        ends = [calendar_window(kind, zone, self.world.now)[1], tenant.period(self.world.now)[1]]
        seconds = int((self.random.choice(ends) - self.world.now).total_seconds())
        return seconds if seconds <= 86_400 else None

    def of_model(self, call):
        """The call with what it costs by, in a story of models."""
        if self.has_models:
            call.data.setdefault("model", "m-other")
            provider = self.random.choice([None, "other"]) if call.data["model"] == "x-1" else "openai"
            call.data |= {"provider": provider} if provider else {}
            tokens = self.random.choice([100, 200, 300, 301, 400])
            call.tokens = Tokens(tokens, self.random.choice([0, 0, 50, tokens]), self.random.choice(OUTPUTS))
            call.asked = call.tokens
            if "fewer tokens" in self.kinds and call.max_output and self.random.random() < 0.8:
                call.min_output = self.random.choice([1, 1, 20, call.max_output // 2, call.max_output])
        return call

    def end(self, call, now=None):
        return (now or self.world.now) + timedelta(seconds=call.ttl or 900)

    def judged(self, call):
        """What the call claims, what refuses it, and the soft limits that it exceeds."""
        claims = self.world.claims(call, self.world.now, self.end(call))
        exceeded = self.world.exceeded(call, claims)
        refusing = [claim for claim in exceeded if not claim.limit.lets_pass]
        softly = [claim for claim in exceeded if claim.limit.lets_pass
                  and self.world.growth(claim) > self.world.room(claim)]
        return claims, refusing, softly

    def decision(self, call):
        """What the call claims with as many output tokens as fit, and whether it is refused."""
        self.fit(call)
        return self.judged(call)[0], self.is_refused(call)

    def is_refused(self, call):
        return bool(self.judged(call)[1] or self.world.rates.refusing(call, self.world.now))

    def fit(self, call):
        """Where it is refused as a whole, leaves it as many output tokens as fit, but not fewer than it takes."""
        call.tokens = call.asked
        if not call.min_output or not self.is_refused(call):
            return
        few, many = call.min_output, call.max_output
        call.tokens = call.asked.with_output(few)
        if self.is_refused(call):
            call.tokens = call.asked
            return
        while many - few > 1:
            call.tokens = call.asked.with_output((few + many) // 2)
            few, many = (few, call.max_output) if self.is_refused(call) else (call.max_output, many)
        call.tokens = call.asked.with_output(few)

    def is_open_question(self, call):
        """As a whole, or with as many output tokens as fit."""
        call.tokens = call.asked
        is_open = self.world.is_open_question(call, self.world.now, self.end(call))
        self.fit(call)
        return is_open or self.world.is_open_question(call, self.world.now, self.end(call))

    def reserve(self, call, claims):
        reservation = Reservation(f"r{len(self.world.reservations) + 1}", call, self.world.now, self.end(call))
        self.world.take(reservation, claims)
        self.world.rates.take(call, self.world.now)
        self.world.reservations.append(reservation)
        return reservation

    def admit(self, call=None, is_trial=False):
        call = call or self.new_call()
        if self.is_open_question(call):
            return
        claims, refusing, softly = self.judged(call)
        limiting = self.world.rates.refusing(call, self.world.now)
        body = call.body() | ({"dry_run": True} if is_trial else {})
        if refusing or limiting:
            self.calls.append(call)
            return self.step("POST", "/admissions", body, expect=self.refusal(call, refusing, limiting))
        if is_trial:
            expect = self.consent(call, claims, softly) | {"/reservation": None}
            return self.step("POST", "/admissions", body, expect=expect)
        reservation = self.reserve(call, claims)
        expect = self.consent(call, claims, softly)
        expect |= {"/reservation/status": "held", "/reservation/expires_at": text(reservation.expires)}
        self.step("POST", "/admissions", body, save={reservation.name: "/reservation/id"}, expect=expect)

    def try_out(self):
        self.admit(is_trial=True)

    def ask_anew(self):
        """A call that was refused is decided anew."""
        refused = [call for call in self.calls if all(call is not made.call for made in self.world.reservations)]
        if refused:
            self.admit(self.random.choice(refused[-5:]))

    def admit_pair(self):
        calls = [self.new_call(), self.new_call()]
        if any(self.is_open_question(call) for call in calls):
            return
        if self.outcomes(calls) != self.outcomes(calls[::-1])[::-1]:
            return
        expect, save = {}, {}
        for index, call in enumerate(calls):
            claims, is_refused = self.decision(call)
            expect[f"/data/{index}/allowed"] = not is_refused
            if not is_refused:
                expect[f"/data/{index}/max_output_tokens"] = call.max_output
                save[self.reserve(call, claims).name] = f"/data/{index}/reservation/id"
        bodies = [call.body() for call in calls]
        repeated = self.open_reservation() if self.random.random() < 0.4 else None
        if repeated and repeated.name not in save:
            is_other = self.random.random() < 0.4
            bodies.append(replace(repeated.call, seconds=repeated.call.seconds + is_other).body())
            expect |= {"/data/2/allowed": not is_other, "/data/2/reason": "admission_conflict" if is_other else None}
            expect |= {} if is_other else {"/data/2/reservation/id": f"${{{repeated.name}}}"}
        self.step("POST", "/admissions", bodies, save=save, expect=expect)

    def outcomes(self, calls):
        """How many output tokens each is left, one after the other, or that it is refused; nothing of it stays."""
        found, made, full_at = [], [], [dict(rate.full_at) for rate in self.world.rates]
        for call in calls:
            claims, is_refused = self.decision(call)
            found.append(call.max_output if not is_refused else "none")
            if not is_refused:
                made.append(self.reserve(call, claims))
        for rate, rows in zip(self.world.rates, full_at):
            rate.full_at = rows
        for reservation in made:
            self.world.close(reservation, "released")
            self.world.reservations.remove(reservation)
        return found

    def repeat(self):
        """Also as a trial, which is answered as the call."""
        recent = self.world.now - timedelta(hours=3)
        made = [one for one in self.world.reservations if not one.closed or one.closed > recent]
        if not made:
            return
        reservation = self.random.choice(made)
        call = reservation.call
        if self.random.random() < 0.3:
            other = replace(call, seconds=call.seconds + 1)
            return self.step("POST", "/admissions", other.body(), 409, expect={"/code": "admission_conflict"})
        if self.random.random() < 0.3:
            call = replace(call, min_output=None)
        expect = {"/reservation/status": reservation.status, "/allowed": reservation.status == "held",
                  "/reservation/id": f"${{{reservation.name}}}"}
        expect |= {"/max_output_tokens": call.max_output} if reservation.status == "held" else {}
        if reservation.status != "held":
            expect["/reason"] = "admission_closed"
        else:
            is_over = reservation.expires <= self.world.now
            expect["/warnings"] = {"set": ["repeated", *(["expired"] if is_over else []), *self.warned(call)]}
        is_trial = self.random.random() < 0.3
        self.step("POST", "/admissions", call.body() | ({"dry_run": True} if is_trial else {}), expect=expect)

    def open_reservation(self):
        found = [reservation for reservation in self.world.reservations if reservation.status == "held"]
        return self.random.choice(found) if found else None

    def event(self, call, seconds, **more):
        self.serial += 1
        tokens = call.tokens and self.tokens_of(call.tokens, more.get("is_partial"))
        return Call(f"e{self.serial}", call.tenant, max(Fraction(0), seconds), call.data, tokens, **more)

    def tokens_of(self, estimate, is_partial):
        """What a call of a model comes to: often what was expected."""
        if is_partial:
            return Tokens(estimate.input // 2, 0, self.random.choice(OUTPUTS[:4]))
        if self.random.random() < 0.4:
            return estimate
        return Tokens(estimate.input, 0, self.random.choice(OUTPUTS))

    def report(self, events):
        unsettled = self.world.store(events)
        bodies = [event.body() for event in events]
        self.step("POST", "/events", bodies if len(bodies) > 1 else bodies[0], expect={
            "/accepted": len(events), "/duplicates": 0, "/conflicts": 0, "/unsettled": unsettled, "/unmetered": 0,
            "/unsubscribed": 0, "/unpriced": 0})

    def used_of(self, call):
        return call.seconds + self.random.choice([Fraction(0), Fraction(0), Fraction(-1), Fraction(-3), Fraction(2),
                                                  Fraction("0.75"), Fraction(5)])

    def settle(self):
        reservation = self.open_reservation()
        if reservation:
            seconds, data = self.used_of(reservation.call), reservation.call.data
            event = self.event(reservation.call, seconds, reservation=reservation, time=self.some_time(0.2))
            if not reservation.has_parts and self.random.random() < 0.1:
                event.data = {**data, "user": "ben"}
            self.report([event])

    def settle_pair(self):
        """Of one tenant, and not where charges of single events depend on their order."""
        if any(limit.measure == "charge" and not limit.is_wide for limit in self.world.limits):
            return
        first = self.open_reservation()
        if first:
            events = [self.event(first.call, self.used_of(first.call), reservation=first)]
            second = self.open_reservation()
            more = second if second is not first and second.call.tenant is first.call.tenant else None
            call = more.call if more else self.new_call(first.call.tenant)
            self.report(events + [self.event(call, self.used_of(call), reservation=more)])

    def settle_part(self):
        """Frees in the windows of its time alone: what is held of others stays whole. Not before a plan begins that it
        may see: what it holds then is not told here."""
        reservation = self.open_reservation()
        if reservation and not reservation.call.tenant.pending:
            seconds = Fraction(self.random.choice(["1", "2", "0.5", "4"]))
            self.report([self.event(reservation.call, seconds, reservation=reservation, is_partial=True,
                                    time=self.some_time(0.2))])

    def settle_late(self):
        """Names a reservation that is closed, or another tenant's."""
        tenant = self.random.choice([*self.world.tenants.values()])
        found = [one for one in self.world.reservations if one.status != "held" or one.call.tenant is not tenant]
        if found:
            reservation = self.random.choice(found[-8:])
            owner = reservation.call.tenant if reservation.status != "held" else tenant
            call = self.new_call(owner)
            self.report([self.event(call, call.seconds, reservation=reservation)])

    def some_time(self, likely):
        """A time of usage since the story began, up to five minutes ahead; mostly none is said. It may be of before
        budgets were made, or a plan began. Where prices fall, that might charge less than nothing."""
        tenants = self.world.tenants.values()
        first = START if self.is_rising else max(START, *[tenant.segments[-1].start for tenant in tenants])
        last = min([tenant.pending[0].start for tenant in tenants if tenant.pending], default=None)
        time = self.world.now + timedelta(seconds=self.random.randint(self.random.choice([-40_000, -4000]), 200))
        is_fine = time >= first and not (last and time >= last)
        return time if self.random.random() < likely and is_fine else None

    def use(self):
        call = self.new_call()
        self.report([self.event(call, call.seconds, time=self.some_time(0.5))])

    def send_again(self):
        if self.world.events:
            event = self.random.choice(self.world.events[-10:])
            body, outcome = event.body(), "duplicates"
            if self.random.random() < 0.3:
                body["data"] = {**body["data"], "seconds": 77}
                outcome = "conflicts"
            self.step("POST", "/events", body, expect={"/accepted": 0, f"/{outcome}": 1})

    def void(self):
        if self.world.events:
            event = self.random.choice(self.world.events[-12:])
            is_last = event.tenant.segment(event.time) == event.tenant.last_segment(event.tenant.period(event.time)[0])
            if not (is_last or self.is_rising):
                return
            status = "already_voided" if event.is_void else "voided"
            if not event.is_void:
                self.world.void(event)
            body = {"source": "gw", "id": event.id, "tenant": event.tenant.key, "reason": "test"}
            self.step("POST", "/events/void", body, expect={"/status": status})

    def release(self):
        reservation = self.random.choice(self.world.reservations[-6:]) if self.world.reservations else None
        if not reservation:
            return
        path = f"/admissions/${{{reservation.name}}}/release"
        if reservation.status in ("settled", "expired"):
            return self.step("POST", path, status=409, expect={"/code": "admission_closed"})
        if reservation.status == "held":
            self.world.close(reservation, "released")
        self.step("POST", path, expect={"/status": "released"})

    def extend(self, ttl=None):
        reservation, world = self.open_reservation(), self.world
        if not reservation:
            return
        ttl = ttl or self.random.choice([300, 1800, 7201, 40_001, 86_399, self.until_an_end(reservation.call.tenant)])
        end = max(reservation.expires, world.now + timedelta(seconds=ttl or 900))
        path, body = f"/admissions/${{{reservation.name}}}/extend", {"ttl_seconds": ttl or 900}
        if reservation.expires <= world.now:
            return self.step("POST", path, body, 409, expect={"/code": "admission_closed"})
        call, created = reservation.call, reservation.created
        if end > created + LONGEST_LIFE or world.is_open_question(call, created, end):
            return
        if reservation.has_parts and call.tenant.pending:
            return
        claims = world.claims(call, created, end, reservation)
        if any(not claim.limit.lets_pass for claim in world.exceeded(call, claims)):
            return self.step("POST", path, body, 409, expect={"/code": "extends_beyond_window"})
        world.take(reservation, claims)
        reservation.expires = end
        self.step("POST", path, body, expect={"/status": "held", "/expires_at": text(end)})

    def look(self):
        """When one was given up is not compared."""
        if not self.world.reservations:
            return
        reservation = self.random.choice(self.world.reservations[-10:])
        expect = {"/status": reservation.status, "/expires_at": text(reservation.expires),
                  "/suspense_ends_at": text(reservation.expires + SUSPENSE),
                  "/max_output_tokens": reservation.call.max_output}
        if reservation.status != "expired":
            expect["/closed_at"] = reservation.closed and text(reservation.closed)
        self.step("GET", f"/admissions/${{{reservation.name}}}", expect=expect)

    def budgets_in_force(self):
        return [limit for limit in self.world.limits if limit.origin == "budget" and not limit.archived]

    def change_budget(self):
        """Often one that is exceeded, to about what is used and held."""
        taken = {limit: max((row.used + self.world.held(limit, row) for row in self.visible(limit)), default=0)
                 for limit in self.budgets_in_force()}
        over = [limit for limit in taken if taken[limit] > limit.amount]
        limit = self.random.choice(over if over and self.random.random() < 0.5 else [*taken])
        base = self.random.choice([limit.amount, taken[limit]])
        factor = self.random.choice(["0.5", "0.8", "1", "1.25", "2"])
        amount, mode = Fraction(max(1, round(base * Fraction(factor)))), limit.mode
        body = {"amount": str(amount)}
        if self.random.random() < 0.3:
            mode = body["mode"] = self.random.choice(["soft", "hard"])
        thresholds = None
        if self.random.random() < 0.2:
            thresholds = body["thresholds"] = self.random.choice([[50, 80, 100], [30, 100, 150, 300], [60, 90], []])
        self.world.change(limit, amount, mode, thresholds=thresholds)
        self.step("PATCH", f"/budgets/{limit.key}", body, expect={"/amount": number(amount), "/mode": mode})

    def change_quota(self):
        limit = self.random.choice(self.quotas_in_force())
        amount = Fraction(round(limit.amount * Fraction(self.random.choice(["0.6", "1.4", "2"])) + 1))
        self.world.change(limit, amount, limit.mode, limit.overage)
        limit.is_own = True
        self.step("PUT", f"/tenants/{limit.tenant.key}/quotas/{limit.key}?window={limit.kind}", {"limit": str(amount)},
                  expect={"/limit": number(amount)})

    def change_plan(self):
        """Once no usage is later, and no call of the tenant is open but in a story of such."""
        tenant = self.random.choice([*self.world.tenants.values()])
        if tenant.pending:
            return
        self.advance_by(1)
        if any(event.tenant is tenant and event.time >= self.world.now for event in self.world.events):
            return
        is_open = "open calls" in self.kinds
        for reservation in self.world.reservations:
            if reservation.status == "held" and reservation.call.tenant is tenant:
                if not is_open or reservation.has_parts or reservation not in self.calls_that_last():
                    self.world.close(reservation, "released")
                    self.step("POST", f"/admissions/${{{reservation.name}}}/release", expect={"/status": "released"})
        self.change_subscription(tenant, self.world.now)
        if is_open:
            self.hold_anew(tenant, has_begun=True)

    def calls_that_last(self):
        """A little longer, so that they are open still when they are gone through."""
        return [one for one in self.world.open_calls() if one.expires - self.world.now > timedelta(seconds=5)]

    def can_hold_anew(self):
        """Not where it is open what calls hold, and where some of what they held is settled."""
        world = self.world
        return world.open_calls() == self.calls_that_last() and not any(
            one.has_parts or world.is_open_question(one.call, one.created, one.expires) for one in world.open_calls())

    def hold_anew(self, tenant=None, has_begun=False):
        self.world.hold_anew(tenant, has_begun=has_begun)
        self.world.alert()
        self.advance_by(1)

    def enter_price(self):
        """Twice as much for all classes, soon or since a while ago."""
        world = self.world
        price = self.random.choice([price for price in world.price_book.prices if price.start <= world.now])
        start = world.now + timedelta(seconds=self.random.choice([1, 1, -6]) * self.random.randint(2, 3000))
        amounts = {name: str(Decimal(amount) * 2) for name, amount in price.amounts.items()}
        world.price_book.prices.append(replace(price, start=start, amounts=amounts))
        if not self.can_hold_anew():
            return world.price_book.prices.pop()
        self.send_price(world.price_book.prices[-1])
        self.hold_anew()

    def schedule_plan(self):
        """Of a tenant none of whose calls lasts until then, but in a story of such without limits on all charges."""
        tenant = self.random.choice([*self.world.tenants.values()])
        at = tenant.period(self.world.now)[1]
        is_clear = all(one.status != "held" or one.expires < at for one in self.world.reservations
                       if one.call.tenant is tenant)
        latest = max([event.time for event in self.world.events if event.tenant is tenant], default=START)
        is_open = self.kinds >= {"open calls", "narrow"} and self.can_hold_anew()
        if (is_clear or is_open) and latest < at and not tenant.pending:
            self.change_subscription(tenant, at)
            if is_open:
                self.hold_anew(tenant)

    def change_subscription(self, tenant, at):
        plan = next(plan for plan in self.plans if plan != tenant.plan)
        prices, quotas, cap = self.plans[plan]
        tenant.pending = Segment(at, plan, prices), quotas, cap
        self.world.begin_pending()
        when = "period_end" if tenant.pending else "now"
        self.step("POST", f"/subscriptions/${{subscription-{tenant.key}}}/change", {"plan": plan, "at": when},
                  expect={"/plan": tenant.plan})

    def archive(self):
        """Not what another budget overrides. In place of an override calls hold again of what it stood for."""
        overridden = {limit.overrides for limit in self.budgets_in_force()}
        found = [limit for limit in self.budgets_in_force() if limit.key not in overridden]
        overrides = [limit for limit in found if limit.overrides]
        if len(found) > 3:
            limit = self.random.choice(overrides if overrides and self.random.random() < 0.5 else found)
            if limit.overrides and not self.can_hold_anew():
                return
            limit.archived = True
            self.step("DELETE", f"/budgets/{limit.key}", status=204)
            self.show(limit)
            if limit.overrides:
                self.world.end_override(limit)
                self.advance_by(1)

    def create(self):
        """With a call that is extended into windows of it, or usage that may be of before it."""
        self.advance_by(1)
        self.make_budget()
        self.random.choice([lambda: self.extend(ttl=86_399), self.use, self.settle, self.void])()

    def override(self):
        found = [limit for limit in self.budgets_in_force() if "*" in limit.scope.values() and not limit.is_wide]
        if not found:
            return
        self.advance_by(1)
        limit, self.budgets = self.random.choice(found), self.budgets + 1
        values = {"tenant": ["acme", "beta"], "provider": ["openai"], "user": ["ann", "ben"], "model": ["m-small"],
                  "cost_center": ["cc-1"]}
        star = self.random.choice([name for name, value in limit.scope.items() if value == "*"])
        scope = {**limit.scope, star: self.random.choice(values[star])}
        if any(other.overrides == limit.key and not other.archived for other in self.world.limits):
            return
        amount = Fraction(round(limit.amount * Fraction(self.random.choice(["0.5", "2"])) + 1))
        self.add_budget(Limit(f"b{self.budgets}", "budget", limit.measure, scope, amount, "hard", limit.kind,
                              self.world.now, overrides=limit.key))

    def change_rate(self):
        rates = self.world.rates.in_force()
        if not rates:
            return
        rate, act = self.random.choice(rates), self.random.random()
        if act < 0.7:
            return self.change_rate_limit(rate)
        overridden = {other.overrides for other in rates}
        if act < 0.85:
            if rate.key not in overridden and "user" in rate.scope and rate.scope["user"] == "*":
                self.override_rate(rate)
        elif rate.key not in overridden and len(rates) > 1:
            rate.archived = True
            self.step("DELETE", f"/budgets/{rate.key}", status=204)
            self.show_rate(rate)

    def change_rate_limit(self, rate):
        """Only where what is used is in whole microseconds then."""
        limit = self.random.choice([rate.limit * 2, max(1, rate.limit // 2)])
        scale = Fraction(rate.limit, limit)
        used = [rate.used(scope, self.world.now) * rate.part for scope, _, _ in rate.rows(self.world.now)]
        if all((time * scale).denominator == 1 for time in used):
            rate.change(limit, self.world.now)
            self.step("PATCH", f"/budgets/{rate.key}", {"rate": {"limit": limit}}, expect={"/rate/limit": limit})

    def override_rate(self, rate):
        self.budgets += 1
        burst = self.random.choice([5, 20]) if rate.measure == "requests" else 1000
        scope = {**rate.scope, "user": self.random.choice(["ann", "ben"])}
        self.add_rate(rate.measure, scope, rate.limit * 2, rate.period, burst, overrides=rate.key)

    def advance_by(self, seconds):
        """Not to the instant at which a reservation ends, and step by step past one at which a plan begins."""
        for tenant in self.world.tenants.values():
            until = int((tenant.pending[0].start - self.world.now).total_seconds()) if tenant.pending else 0
            if 1 < until <= seconds:
                self.advance_by(until - 1)
                seconds = max(2, seconds - until + 1)
        ends = {end for one in self.world.reservations for end in (one.expires, one.expires + SUSPENSE)}
        while self.world.now + timedelta(seconds=seconds) in ends:
            seconds += 1
        self.world.advance(seconds)
        print(json.dumps({"advance": seconds}))

    def advance(self):
        tenant = self.random.choice([*self.world.tenants.values()])
        midnight = calendar_window("day", tenant.zone, self.world.now)[1] - self.world.now
        until_midnight = int(midnight.total_seconds()) - self.random.choice([600, 300, -5])
        seconds = self.random.choices(
            [self.random.randint(1, 59), self.random.randint(60, 1500), self.random.randint(1600, 9000),
             max(1, until_midnight), 86_400], [30, 35, 20, 12, 3])[0]
        self.advance_by(seconds)

    def come_to_month_end(self):
        """Of a tenant's calendar, or of its billing period, which may end within a day, week or month of its zone."""
        tenant = self.random.choice([*self.world.tenants.values()])
        end = self.random.choice([calendar_window("month", tenant.zone, START), tenant.period(START)])[1]
        seconds = int((end - self.world.now).total_seconds()) - self.random.randint(200, 3000)
        if seconds > 0:
            self.advance_by(seconds)

    def tell(self, steps):
        self.arrange()
        weights = {
            self.admit: 42, self.settle: 15, self.advance: 14, self.use: 4, self.release: 4, self.extend: 4,
            self.settle_part: 4, self.settle_pair: 2, self.settle_late: 2, self.send_again: 2, self.repeat: 4,
            self.ask_anew: 3, self.admit_pair: 3, self.try_out: 3, self.void: 4, self.look: 3, self.change_budget: 6,
            self.change_quota: 1, self.archive: 2, self.create: 3, self.override: 2,
            self.change_rate: 3 if "rates" in self.kinds else 0,
            self.change_plan: 4 if "open calls" in self.kinds else 2 if "changes" in self.kinds else 0,
            self.enter_price: 2 if self.kinds >= {"models", "new prices"} else 0,
            self.schedule_plan: 3 if "scheduled changes" in self.kinds else 0,
        }
        for index in range(steps):
            before = {limit: self.fingerprint(limit) for limit in self.world.limits}
            rates_before = {rate: dict(rate.full_at) for rate in self.world.rates}
            alerts_before, since = len(self.world.alerts), self.world.now
            act = self.random.choices([*weights], [*weights.values()])[0]
            (self.come_to_month_end if index == steps * 3 // 5 else act)()
            self.world.alert()
            self.world.check()
            in_force = [limit for limit in self.world.limits if not (limit.archived or limit.is_out)]
            changed = [limit for limit in in_force if before.get(limit) != self.fingerprint(limit)]
            for limit in dict.fromkeys([*changed, self.random.choice(in_force)]):
                self.show(limit)
            if len(self.world.alerts) > alerts_before or self.random.random() < 0.05:
                self.show_alerts(since)
            for rate in self.world.rates.in_force():
                if rates_before.get(rate) != rate.full_at or self.random.random() < 0.1:
                    self.show_rate(rate)
        for limit in self.world.limits:
            if not limit.is_out:
                self.show(limit)
        for rate in self.world.rates:
            self.show_rate(rate)
        self.world.check_sums()


if __name__ == "__main__":
    Story(int(sys.argv[1])).tell(int(sys.argv[2]) if len(sys.argv) > 2 else 150)
