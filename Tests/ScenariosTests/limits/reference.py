"""Prints a random story of limits and admissions with what the service must answer, one step a line.

`reference.py SEED [STEPS]`: JSON Lines of requests to /api/v1 and of advances of the clock. A player sends them to the
service, whose fixed clock starts at 2026-11-23T08:00:00Z and whose zone is UTC:

    {"method": "POST", "path": "/admissions", "body": {...}, "status": 200, "save": {"r1": "/reservation/id"},
     "expect": {"/allowed": true}}       an answer's parts by JSON pointer; `${r1}` stands for what was saved, also here
    {"advance": 90}                      the clock goes on by seconds, and the background work of the service ends

Expected values are equal to the answer's, but for

    {"number": "12.5"}                   any spelling of the number
    {"set": [...]}                       an array in any order
    {"rows": [{"match": {pointer: value}, "expect": {pointer: value}}], "extra": "none"}
                                         an array: each element that fits a `match` is as expected, and one at least is
                                         there. Elements that fit no `match` may not be (`none`), have zero in each of
                                         /used, /held and /overshoot (`zero`), or are not looked at (no `extra`)
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

from world import BIG_MODEL, FEATURES, LONGEST_LIFE, MICROSECOND, START, SUSPENSE
from world import Call, Limit, Reservation, Tenant, World, calendar_window, number, text

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]
RISING_PRICES = [
    {"model": "per_unit", "unit_amount": "1.5"},
    {"model": "graduated", "tiers": [{"up_to": "10", "unit_amount": "0"}, {"up_to": None, "unit_amount": "2"}]},
    {"model": "graduated", "tiers": [{"up_to": "5", "unit_amount": "0"}, {"up_to": "20", "unit_amount": "0.5"},
                                     {"up_to": None, "unit_amount": "1.25"}]},
]
OTHER_PRICES = [
    {"model": "graduated", "tiers": [{"up_to": "12", "unit_amount": "2"}, {"up_to": None, "unit_amount": "0.5"}]},
    {"model": "graduated", "tiers": [{"up_to": "10", "unit_amount": "1"},
                                     {"up_to": None, "unit_amount": "0.75", "flat_amount": "3"}]},
    {"model": "package", "amount": "4", "package_size": "10", "free_units": "5"},
]
UNIT_PRICES = ["0", "0.1", "0.25"]
WINDOWS = ["minute", "hour", "day", "day", "week", "month", "lifetime"]
SCOPES = [{}, {"tenant": "acme"}, {"tenant": "*"}, {"tenant": "acme", "user": "*"}, {"tenant": "*", "user": "*"},
          {"user": "ann"}, {"tenant": "beta", "user": "ben"}, {"tenant": "*", "model": "m-*"}, {"model": "*"},
          {"tenant": "acme", "cost_center": "*"}, {"tenant": "*", "user": "*", "cost_center": "*"},
          {"tenant": "*", "plan": "pro", "user": "*"}, {"tenant": "*", "model": "m-small"}]
NARROW_SCOPES = [{}, {"tenant": "*", "user": "*"}, {"tenant": "acme", "user": "*"}, {"tenant": "*", "model": "m-*"},
                 {"tenant": "*", "feature": "jobs"}, {"tenant": "acme", "cost_center": "cc-1"}]
ROOM = {"minute": 1, "hour": 1.5, "day": 2, "week": 3, "month": 4, "billing_period": 4, "lifetime": 6}
REASONS = {"quota": "quota_exceeded", "budget": "budget_exceeded", "spend_cap": "spend_cap_exceeded"}


class Story:
    """Draws what happens, tells the world of it, and prints it with what must be answered.

    Not drawn, beside what the world holds for an open question: times of usage before the newest budget was made,
    parts of calls that hold in a later window too, an array whose calls would be answered otherwise in another order,
    and the end of an override while calls are open."""

    def __init__(self, seed):
        self.random, self.world, self.serial, self.budgets = random.Random(seed), World(), 0, 0
        self.calls = []
        self.is_rising = self.random.random() < 0.6

    def step(self, method, path, body=None, status=200, expect=None, save=None):
        line = {"method": method, "path": path, "body": body, "status": status, "save": save, "expect": expect}
        print(json.dumps({name: value for name, value in line.items() if value is not None}))

    # Set-up

    def arrange(self):
        dimensions = {"dimensions": {"model": "model"}}
        for meter in ({"key": "seconds", "aggregation": "sum", "value": "seconds", **dimensions},
                      {"key": "jobs", "aggregation": "count"}):
            self.step("POST", "/meters", {"event_type": "job.done", **meter}, 201)
        for feature, meter in FEATURES.items():
            filters = [{"dimension": "model", "in": [BIG_MODEL]}] if feature == "big" else []
            self.step("POST", "/features", {"key": feature, "meter": meter, "filters": filters}, 201)
        prices = {plan: self.arrange_plan(plan) for plan in ("pro", "max")}
        for key in ("acme", "beta", "gamma"):
            self.arrange_tenant(key, self.random.choice(["pro", "max"]), prices)
        for _ in range(self.random.randint(5, 8)):
            self.make_budget()

    def arrange_plan(self, plan):
        pool = RISING_PRICES if self.is_rising else RISING_PRICES + OTHER_PRICES
        prices = {"seconds": self.random.choice(pool)}
        for feature in ("jobs", "big"):
            prices[feature] = {"model": "per_unit", "unit_amount": self.random.choice(UNIT_PRICES)}
        windows = self.random.sample(["hour", "day", "month", "billing_period"], 2)
        quotas = [{"feature": "seconds", "limit": self.amount("units", windows[0], 2), "window": windows[0],
                   "mode": "hard"},
                  {"feature": self.random.choice(list(FEATURES)), "limit": self.amount("units", windows[1], 2),
                   "window": windows[1], "mode": self.random.choice(["hard", "soft"])}]
        version = {"charges": [{"feature": name, "price": price} for name, price in prices.items()], "quotas": quotas}
        if plan == "pro" or self.random.random() < 0.5:
            version["spend_cap"] = {"amount": self.amount("charge", "month", 2), "mode": "hard"}
        self.step("POST", "/plans", {"key": plan, "name": plan, "currency": "USD"}, 201)
        self.step("POST", f"/plans/{plan}/versions", version, 201, save={f"version-{plan}": "/version"})
        self.step("POST", f"/plans/{plan}/versions/${{version-{plan}}}/publish")
        return prices, quotas, version.get("spend_cap")

    def arrange_tenant(self, key, plan, plans):
        prices, quotas, cap = plans[plan]
        zone = self.random.choice(ZONES)
        local_midnight = datetime(2026, 11, 1, tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)
        anchor = self.random.choice([local_midnight, datetime(2026, 11, 1, tzinfo=timezone.utc)])
        self.step("POST", "/tenants", {"key": key, "name": key, "currency": "USD", "timezone": zone}, 201)
        self.step("POST", "/subscriptions", {"tenant": key, "plan": plan, "starts_at": text(anchor)}, 201)
        tenant = self.world.tenants[key] = Tenant(key, ZoneInfo(zone), anchor, plan, prices)
        for quota in quotas:
            scope = {"tenant": key, "feature": quota["feature"]}
            self.world.limits.append(Limit(quota["feature"], "quota", "units", scope, Fraction(quota["limit"]),
                                           quota["mode"], quota["window"], START, tenant))
        if cap:
            self.world.limits.append(Limit("spend_cap", "spend_cap", "charge", {"tenant": key}, Fraction(cap["amount"]),
                                           cap["mode"], "month", START, tenant))

    def amount(self, measure, kind, wide=1):
        unit = {"requests": 1.5, "units": 4, "charge": 6}[measure]
        return str(max(1, round(unit * ROOM[kind] * wide * self.random.uniform(0.6, 1.4))))

    def make_budget(self):
        self.budgets += 1
        measure = self.random.choice(["requests", "requests", "units", "charge"])
        kind = self.random.choice(WINDOWS)
        if measure == "charge":
            is_narrow = self.is_rising and self.random.random() < 0.5
            scope = dict(self.random.choice(NARROW_SCOPES if is_narrow else SCOPES[1:3]))
        else:
            scope = dict(self.random.choice(SCOPES))
        if measure == "units":
            scope["feature"] = self.random.choice(list(FEATURES))
        elif measure == "requests" and self.random.random() < 0.1:
            scope["feature"] = "big"
        if "tenant" in scope and self.random.random() < 0.1:
            kind = "billing_period"
        mode = "soft" if self.random.random() < 0.2 else "hard"
        amount = Fraction(self.amount(measure, kind, 1 if set(scope) - {"tenant", "feature"} else 3))
        self.add_budget(Limit(f"b{self.budgets}", "budget", measure, scope, amount, mode, kind, self.world.now))

    def add_budget(self, limit):
        body = {"key": limit.key, "scope": limit.scope, "measure": limit.measure, "amount": str(limit.amount),
                "window": limit.kind, "mode": limit.mode}
        body |= {"currency": "USD"} if limit.measure == "charge" else {}
        body |= {"overrides": limit.overrides} if limit.overrides else {}
        self.step("POST", "/budgets", body, 201)
        self.world.limits.append(limit)

    # What is shown

    def visible(self, limit):
        """The rows of the present windows."""
        if "*" not in limit.scope.values():
            tenant = self.world.tenants[limit.scope.get("tenant", "acme")]
            return [self.world.peek(limit, limit.scope, self.world.window(limit, tenant, self.world.now))]
        tenants = self.world.tenants
        return [row for row in limit.rows.values()
                if row.window == self.world.window(limit, tenants[row.scope.get("tenant", "acme")], self.world.now)]

    def is_told(self, row, limit):
        is_zero = not (row.used or row.overshoot or self.world.held(limit, row))
        return "*" not in limit.scope.values() or (row.used > 0 if row.overshoot is None else not is_zero)

    def state(self, limit, row, is_replaced=False):
        expect = {"/used": number(row.used)}
        if not is_replaced:
            held = self.world.held(limit, row)
            expect |= {"/held": number(held), "/remaining": number(max(Fraction(0), limit.amount - row.used - held))}
        if row.overshoot is not None and not is_replaced:
            expect["/overshoot"] = number(row.overshoot)
        return expect

    def progress(self, limit, row):
        percent = number(row.used * 100 / limit.amount) if limit.amount else None
        if limit.kind == "lifetime":
            return {"/percent": percent, "/projected": None}
        since = max(row.window[0], limit.created)
        passed, whole = self.world.now - since, row.window[1] - since
        if passed * 100 < whole:
            return {"/percent": percent, "/projected": None}
        return {"/percent": percent, "/projected": number(row.used * (whole // MICROSECOND) / (passed // MICROSECOND))}

    def standing_apart(self, limit, row):
        """Whether another budget stands in place of this one for a row."""
        return any(other.overrides == limit.key and not other.archived
                   and all(value in ("*", row.scope.get(name)) for name, value in other.scope.items())
                   for other in self.world.limits)

    def show(self, limit):
        if limit.origin == "budget" and limit.archived:
            return self.step("GET", f"/budgets/{limit.key}/status", expect={"/data": []})
        if limit.origin == "quota":
            match = {"/feature": limit.key, "/window/kind": limit.kind}
            expect = {"/limit": number(limit.amount), **self.state(limit, self.visible(limit)[0])}
            rows = {"rows": [{"match": match, "expect": expect}]}
            return self.step("GET", f"/tenants/{limit.tenant.key}/quotas", expect={"/data": rows})
        if limit.origin == "spend_cap":
            expect = self.state(limit, self.visible(limit)[0])
            return self.step("GET", f"/tenants/{limit.tenant.key}/spend-cap", expect=expect)
        rows = [{"match": {"/scope": row.scope},
                 "expect": self.state(limit, row, self.standing_apart(limit, row)) | self.progress(limit, row)}
                for row in self.visible(limit) if self.is_told(row, limit)]
        is_certain = all(row.overshoot is not None for row in self.visible(limit))
        self.step("GET", f"/budgets/{limit.key}", expect={
            "/amount": number(limit.amount), "/mode": limit.mode,
            "/status/windows": {"rows": rows} | ({"extra": "zero"} if is_certain else {})})

    def fingerprint(self, limit):
        return [(str(row.scope), limit.amount, row.used, row.overshoot, self.world.held(limit, row))
                for row in self.visible(limit)]

    # Steps

    def new_call(self, tenant=None):
        self.serial += 1
        tenant = tenant or self.random.choice([*self.world.tenants.values()])
        drawn = {"user": self.random.choice(["ann", "ann", "ben", "cleo", None]),
                 "model": self.random.choice([BIG_MODEL, "m-small", "x-1", None]),
                 "cost_center": self.random.choice(["cc-1", "cc-2", None, None])}
        data = {name: value for name, value in drawn.items() if value}
        seconds = Fraction(self.random.choice(["1", "1", "2", "3", "4", "2.5", "0.25", "6", "9", "0"]))
        ttl = self.random.choice([None, None, None, 61, 600, 3601, 7201, 43201])
        return Call(f"a{self.serial}", tenant, seconds, data, ttl)

    def end(self, call, now=None):
        return (now or self.world.now) + timedelta(seconds=call.ttl or 900)

    def judged(self, call):
        """What the call claims, what refuses it, and the soft limits that it exceeds."""
        claims = self.world.claims(call, self.world.now, self.end(call))
        exceeded = self.world.exceeded(call, claims)
        refusing = [claim for claim in exceeded if claim.limit.mode == "hard"]
        softly = [claim for claim in exceeded if claim.limit.mode == "soft"
                  and self.world.growth(claim) > self.world.room(claim)]
        return claims, refusing, softly

    def named(self, limit):
        return {"/key": limit.key, "/origin": limit.origin, "/measure": limit.measure, "/window/kind": limit.kind}

    def refusal(self, call, refusing):
        origins = {claim.limit.origin for claim in refusing}
        rows = [{"match": self.named(claim.limit), "expect": {"/mode": "hard"}} for claim in refusing]
        expect = {"/allowed": False, "/reservation": None, "/limits": {"rows": rows, "extra": "none"}}
        if len(origins) == 1:
            expect["/reason"] = REASONS[origins.pop()]
        return expect | self.when_again(refusing)

    def when_again(self, refusing):
        """When the last window ends; never for a call that alone is too large. Only where no later window refuses."""
        now = self.world.now
        if any(claim.limit.is_wide or claim.limit.kind == "lifetime" for claim in refusing):
            return {}
        if any(claim.window[0] > now for claim in refusing):
            return {}
        if any(claim.amount > claim.limit.amount for claim in refusing):
            return {"/retry_after": None}
        return {"/retry_after": int(max(claim.window[1] - now for claim in refusing).total_seconds())}

    def consent(self, call, claims, softly):
        """Limits are compared with their numbers where the call holds in one window of each."""
        rows = []
        for limit in dict.fromkeys(claim.limit for claim in claims):
            if self.world.is_replaced(limit, call):
                continue
            own = [claim for claim in claims if claim.limit is limit]
            expect = {"/mode": limit.mode}
            if len(own) == 1:
                row = self.world.peek(limit, own[0].place, own[0].window)
                is_held = any(reservation.call is call for reservation in row.holds)
                held = self.world.held(limit, row, None if is_held else own[0].amount)
                expect |= {"/used": number(row.used), "/held": number(held),
                           "/remaining": number(max(Fraction(0), limit.amount - row.used - held))}
            rows.append({"match": self.named(limit), "expect": expect})
        expect = {"/allowed": True, "/reason": None, "/retry_after": None, "/limits": {"rows": rows, "extra": "none"}}
        if not softly:
            expect["/warnings"] = {"set": []}
        elif any((claim.window[0] or START) <= self.world.now for claim in softly):
            expect["/warnings"] = {"set": ["soft_limit_exceeded"]}
        return expect

    def reserve(self, call, claims):
        reservation = Reservation(f"r{len(self.world.reservations) + 1}", call, self.world.now, self.end(call))
        self.world.take(reservation, claims)
        self.world.reservations.append(reservation)
        return reservation

    def admit(self, call=None, is_trial=False):
        call = call or self.new_call()
        if self.world.is_open_question(call, self.world.now, self.end(call)):
            return
        claims, refusing, softly = self.judged(call)
        body = call.body() | ({"dry_run": True} if is_trial else {})
        if refusing:
            self.calls.append(call)
            return self.step("POST", "/admissions", body, expect=self.refusal(call, refusing))
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
        if any(self.world.is_open_question(call, self.world.now, self.end(call)) for call in calls):
            return
        if self.outcomes(calls) != self.outcomes(calls[::-1])[::-1]:
            return
        expect, save = {}, {}
        for index, call in enumerate(calls):
            claims, refusing, _ = self.judged(call)
            expect[f"/data/{index}/allowed"] = not refusing
            if not refusing:
                save[self.reserve(call, claims).name] = f"/data/{index}/reservation/id"
        self.step("POST", "/admissions", [call.body() for call in calls], save=save, expect=expect)

    def outcomes(self, calls):
        """Whether each is admitted, one after the other; nothing of it stays."""
        found, made = [], []
        for call in calls:
            claims, refusing, _ = self.judged(call)
            found.append(not refusing)
            if not refusing:
                made.append(self.reserve(call, claims))
        for reservation in made:
            self.world.close(reservation, "released")
            self.world.reservations.remove(reservation)
        return found

    def repeat(self):
        recent = self.world.now - timedelta(hours=3)
        made = [one for one in self.world.reservations if not one.closed or one.closed > recent]
        if not made:
            return
        reservation = self.random.choice(made)
        call = reservation.call
        if self.random.random() < 0.3:
            other = Call(call.id, call.tenant, call.seconds + 1, call.data, call.ttl)
            return self.step("POST", "/admissions", other.body(), 409, expect={"/code": "admission_conflict"})
        expect = {"/reservation/status": reservation.status, "/allowed": reservation.status == "held",
                  "/reservation/id": f"${{{reservation.name}}}"}
        if reservation.status != "held":
            expect["/reason"] = "admission_closed"
        elif not any(limit.mode == "soft" for limit, _ in self.world.concerning(call)):
            is_over = reservation.expires <= self.world.now
            expect["/warnings"] = {"set": ["repeated", "expired"] if is_over else ["repeated"]}
        self.step("POST", "/admissions", call.body(), expect=expect)

    def open_reservation(self):
        found = [reservation for reservation in self.world.reservations if reservation.status == "held"]
        return self.random.choice(found) if found else None

    def event(self, call, seconds, **more):
        self.serial += 1
        return Call(f"e{self.serial}", call.tenant, max(Fraction(0), seconds), call.data, **more)

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
        reservation = self.open_reservation()
        if not reservation or self.holds_later(reservation):
            return
        seconds = Fraction(self.random.choice(["1", "2", "0.5", "4"]))
        self.report([self.event(reservation.call, seconds, reservation=reservation, is_partial=True)])

    def holds_later(self, reservation):
        """Whether it holds in a window to come, or its billing period is over."""
        period = reservation.call.tenant.period
        return period(reservation.created) != period(self.world.now) or any(
            reservation in row.holds and row.window[0] and row.window[0] > self.world.now
            for limit in self.world.limits for row in limit.rows.values())

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
        """A time of usage that all budgets count, up to five minutes ahead; mostly none is said."""
        first = max(limit.created for limit in self.world.limits)
        time = self.world.now + timedelta(seconds=self.random.randint(-40_000, 200))
        return time if self.random.random() < likely and time >= first else None

    def use(self):
        call = self.new_call()
        self.report([self.event(call, call.seconds, time=self.some_time(0.3))])

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

    def extend(self):
        reservation, world = self.open_reservation(), self.world
        if not reservation:
            return
        ttl = self.random.choice([300, 1800, 7201, 40_001, 86_399])
        end = max(reservation.expires, world.now + timedelta(seconds=ttl))
        path, body = f"/admissions/${{{reservation.name}}}/extend", {"ttl_seconds": ttl}
        if reservation.expires <= world.now:
            return self.step("POST", path, body, 409, expect={"/code": "admission_closed"})
        call, created = reservation.call, reservation.created
        if end > created + LONGEST_LIFE or world.is_open_question(call, created, end, since=created):
            return
        claims = world.claims(call, created, end, held_until=reservation.expires)
        claims = [claim for claim in claims if claim.limit.created <= created]
        if any(claim.limit.mode == "hard" for claim in world.exceeded(call, claims)):
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
                  "/suspense_ends_at": text(reservation.expires + SUSPENSE)}
        if reservation.status != "expired":
            expect["/closed_at"] = reservation.closed and text(reservation.closed)
        self.step("GET", f"/admissions/${{{reservation.name}}}", expect=expect)

    def budgets_in_force(self):
        return [limit for limit in self.world.limits if limit.origin == "budget" and not limit.archived]

    def change_budget(self):
        limit = self.random.choice(self.budgets_in_force())
        factor = self.random.choice(["0.5", "0.8", "1.5", "2"])
        amount, mode = Fraction(round(limit.amount * Fraction(factor) + 1)), limit.mode
        body = {"amount": str(amount)}
        if self.random.random() < 0.2:
            mode = body["mode"] = self.random.choice(["soft", "hard"])
        self.world.change(limit, amount, mode)
        self.step("PATCH", f"/budgets/{limit.key}", body, expect={"/amount": number(amount), "/mode": mode})

    def change_quota(self):
        limit = self.random.choice([limit for limit in self.world.limits if limit.origin == "quota"])
        amount = Fraction(round(limit.amount * Fraction(self.random.choice(["0.6", "1.4", "2"])) + 1))
        self.world.change(limit, amount, limit.mode)
        self.step("PUT", f"/tenants/{limit.tenant.key}/quotas/{limit.key}?window={limit.kind}", {"limit": str(amount)},
                  expect={"/limit": number(amount)})

    def archive(self):
        """Not what another budget overrides, and no override while calls are open."""
        is_open = self.open_reservation() is not None
        overridden = {limit.overrides for limit in self.budgets_in_force()}
        found = [limit for limit in self.budgets_in_force()
                 if limit.key not in overridden and not (limit.overrides and is_open)]
        if len(found) > 3:
            limit = self.random.choice(found)
            limit.archived = True
            self.step("DELETE", f"/budgets/{limit.key}", status=204)
            self.show(limit)

    def create(self):
        self.advance_by(1)
        self.make_budget()

    def override(self):
        found = [limit for limit in self.budgets_in_force() if "*" in limit.scope.values() and not limit.is_wide]
        if not found:
            return
        self.advance_by(1)
        limit, self.budgets = self.random.choice(found), self.budgets + 1
        values = {"tenant": ["acme", "beta"], "user": ["ann", "ben"], "model": ["m-small"], "cost_center": ["cc-1"]}
        star = self.random.choice([name for name, value in limit.scope.items() if value == "*"])
        scope = {**limit.scope, star: self.random.choice(values[star])}
        if any(other.overrides == limit.key and not other.archived for other in self.world.limits):
            return
        amount = Fraction(round(limit.amount * Fraction(self.random.choice(["0.5", "2"])) + 1))
        self.add_budget(Limit(f"b{self.budgets}", "budget", limit.measure, scope, amount, "hard", limit.kind,
                              self.world.now, overrides=limit.key))
        for row in limit.rows.values():
            if self.standing_apart(limit, row):
                row.overshoot = None

    def advance_by(self, seconds):
        """Not to the instant at which a reservation ends."""
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
        tenant = self.random.choice([*self.world.tenants.values()])
        month_end = calendar_window("month", tenant.zone, START)[1]
        seconds = int((month_end - self.world.now).total_seconds()) - self.random.randint(200, 3000)
        if seconds > 0:
            self.advance_by(seconds)

    def tell(self, steps):
        self.arrange()
        weights = {
            self.admit: 42, self.settle: 15, self.advance: 14, self.use: 4, self.release: 4, self.extend: 4,
            self.settle_part: 4, self.settle_pair: 2, self.settle_late: 2, self.send_again: 2, self.repeat: 4,
            self.ask_anew: 3, self.admit_pair: 3, self.try_out: 3, self.void: 4, self.look: 3, self.change_budget: 4,
            self.change_quota: 1, self.archive: 1, self.create: 2, self.override: 1,
        }
        for index in range(steps):
            before = {limit: self.fingerprint(limit) for limit in self.world.limits}
            act = self.random.choices([*weights], [*weights.values()])[0]
            (self.come_to_month_end if index == steps * 3 // 5 else act)()
            self.world.check()
            in_force = [limit for limit in self.world.limits if not limit.archived]
            changed = [limit for limit in in_force if before.get(limit) != self.fingerprint(limit)]
            for limit in dict.fromkeys([*changed, self.random.choice(in_force)]):
                self.show(limit)
        for limit in self.world.limits:
            self.show(limit)
        self.world.check_sums()


if __name__ == "__main__":
    Story(int(sys.argv[1])).tell(int(sys.argv[2]) if len(sys.argv) > 2 else 150)
