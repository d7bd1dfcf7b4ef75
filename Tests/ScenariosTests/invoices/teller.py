"""The story of one tenant."""

import random
from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from catalogue import overridden
from computation import compute
from corrections import Corrections
from expectations import decimal, invoice_expectation, number, request, state_expectation, text
from invariants import check
from ledger import DIGITS, FAR, Account, Discount, Grant
from prices import ZERO, OpenQuestion, to_instant
from usage import Usage

GRACE = timedelta(hours=24)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Asia/Kuwait", "America/Santiago"]
ANCHORS = [(2026, 10, 31, 0), (2026, 11, 1, 0), (2026, 11, 15, 9), (2026, 11, 20, 17), (2026, 12, 1, 0),
           (2026, 11, 30, 0), (2026, 11, 1, 1), (2026, 10, 29, 13), (2026, 10, 22, 6)]


class Teller(Usage, Corrections):
    """The story of one tenant. It acts at the stops of the clock, which are the same for all tenants."""

    def __init__(self, seed, key, extras, focus, catalogue, stops):
        """What a story is to focus on happens more often."""
        self.rng, self.key, self.catalogue, self.stops = random.Random(seed), key, catalogue, stops
        self.extras = {extra for extra in extras if self.rng.random() < 0.75} | set(focus)
        self.focus = focus
        self.steps, self.now, self.stop, self.quiet_until = [], stops[0], 0, 0
        self.next_period, self.opening_due, self.counter = 0, False, Counter()
        self.last_change = stops[0] - timedelta(days=1)
        self.is_closed, self.adjustment_since = False, None

    def tell(self):
        """The steps at each stop."""
        told = []
        for self.stop, self.now in enumerate(self.stops):
            self.steps = []
            if self.stop == 0:
                self.arrange()
            self.close()
            if self.stop >= self.quiet_until:
                self.act()
            told.append(self.steps)
        self.steps = told[-1]
        self.summarize()
        return told

    def ask(self, *arguments, **named):
        self.steps.append(request(*arguments, **named))

    def name(self, kind):
        self.counter[kind] += 1
        return f"{self.key}-{kind}{self.counter[kind]}"

    def chance(self, extra, probability):
        return extra in self.extras and self.rng.random() < probability * (2 if extra in self.focus else 1)

    # Given

    def arrange(self):
        currency, zone = self.rng.choice([*DIGITS]), self.rng.choice(ZONES)
        year, month, day, hour = self.rng.choice(ANCHORS)
        anchor = to_instant(datetime(year, month, day, hour), ZoneInfo(zone))
        plan, inclusive = self.rng.choice(self.catalogue.of(currency)), self.rng.random() < 0.4
        taxes = self.random_taxes() if "taxes" in self.extras else {}
        is_reverse = self.rng.random() < 0.1
        inclusive = inclusive and bool(taxes) and not is_reverse
        subscription, version = self.version_of(plan, 1)
        self.account = Account(self.key, currency, ZoneInfo(zone), anchor, (plan, 1), version,
                               {} if is_reverse else taxes, inclusive)
        self.opening_due = any(fee["charged"] == "in_advance" for fee in version["fees"])
        body = {"key": self.key, "name": self.key, "currency": currency, "timezone": zone}
        if taxes:
            body["billing"] = {"tax": rates_of(taxes) | {"inclusive": inclusive, "reverse_charge": is_reverse}}
        self.ask("POST", "/tenants", body, 201)
        self.subscribe({"tenant": self.key, "starts_at": text(anchor), **subscription})

    def random_taxes(self):
        taxes = self.rng.choice([{"vat": "19"}, {"sales": "8.25"}, {"state": "7", "city": "1.5"},
                                 {"gst": "5", "qst": "9.975", "levy": "0.5"}])
        return {rate: Fraction(percent) for rate, percent in taxes.items()}

    def change_taxes(self):
        """A new percentage is a rate with a key of its own. How a tenant is billed is replaced whole."""
        self.account.taxes = taxes = self.random_taxes()
        tax = rates_of(taxes) | {"inclusive": self.account.inclusive}
        self.ask("PATCH", f"/tenants/{self.key}", {"billing": {"tax": tax}})

    def version_of(self, plan, number):
        """What a body says of it, and what it comes to. The latest need not be named."""
        published = self.catalogue.published(plan, self.stop)
        version, body = published[number], {"plan": plan, "version": number}
        if number == len(published) and self.rng.random() < 0.5:
            del body["version"]
        if not self.chance("overrides", 0.4):
            return body, version
        overrides = self.catalogue.overrides(plan, version, self.rng)
        return body | {"overrides": overrides}, overridden(version, overrides)

    def subscribe(self, body):
        account, trial_ends = self.account, None
        if self.chance("trials", 0.5):
            body["trial_days"] = self.rng.randint(3, 20)
            account.begin_with_trial(body["trial_days"])
            trial_ends = text(account.anchor)
        expect = {"/starts_at": body["starts_at"], "/anchor": text(account.anchor), "/trial_ends_at": trial_ends,
                  "/timezone": account.zone.key}
        self.ask("POST", "/subscriptions", body, 201, {f"{self.key}-sub": "/id"}, expect)

    # Invoices that come of themselves

    def close(self):
        made = []
        for drafted, kind, period in [*self.account.drafts]:
            if drafted + GRACE < self.now:
                self.account.drafts.remove((drafted, kind, period))
                made.append(self.make_final(kind, period))
        for invoice in made:
            self.show(invoice)
        if made:
            self.show_balances()
        self.draft()
        if self.adjustment_since is not None and self.stop >= self.adjustment_since + 2:
            self.adjust()

    def make_final(self, kind, period):
        invoice = compute(self.account, kind, period, self.now)
        invoice.name = self.name("inv")
        self.account.finalize(invoice, self.now)
        check(self.account)
        return invoice

    def draft(self):
        account = self.account
        if self.opening_due and account.anchor <= self.now:
            account.drafts.append((self.now, "opening", 0))
            self.opening_due = False
        while not self.is_closed and account.period_end(self.next_period) <= self.now:
            account.drafts.append((self.now, "regular", self.next_period))
            self.is_closed = account.end <= account.period(self.next_period)[1]
            self.next_period += 1

    def adjust(self):
        since, self.adjustment_since = self.stops[self.adjustment_since], None
        if any(since <= grant.expires <= self.now and grant.remaining and not grant.is_void
               for grant in self.account.grants):
            raise OpenQuestion("when an adjustment is drafted")
        self.show(self.make_final("adjustment", self.next_period - 1), since)
        self.show_balances()

    def show(self, invoice, since=None):
        """Finds the invoice by what was issued since the last stop, and looks at all of it."""
        since = since or self.stops[self.stop - 1]
        span = f"from={text(since + timedelta(seconds=1))}&to={text(self.now + timedelta(seconds=1))}"
        rows = {"rows": [{"match": {"/invoice_kind": invoice.kind}, "expect": {
            "/total": number(invoice.total), "/amount_outstanding": number(invoice.outstanding)}}], "extra": "none"}
        self.ask("GET", f"/invoices?tenant={self.key}&kind={invoice.kind}&{span}",
                 save={invoice.name: "/data/0/id"}, expect={"/data": rows})
        self.ask("GET", f"/invoices/${{{invoice.name}}}",
                 expect=invoice_expectation(self.account, invoice) | state_expectation(invoice))
        self.save_carried(invoice)

    def show_balances(self):
        if self.account.grants:
            rows = [{"match": {"/id": f"${{{grant.name}}}"}, "expect": self.grant_state(grant)}
                    for grant in self.account.grants]
            self.ask("GET", f"/tenants/{self.key}/credit-grants?limit=500",
                     expect={"/data": {"rows": rows, "extra": "none"}})
        if self.account.discounts:
            rows = [{"match": {"/name": discount.name}, "expect": {
                "/used": discount.used, "/status": "active" if discount.is_active else "ended"}}
                for discount in self.account.discounts]
            self.ask("GET", f"/tenants/{self.key}/discounts?limit=500",
                     expect={"/data": {"rows": rows, "extra": "none"}})

    def save_carried(self, invoice):
        """The id of the credit that it made. The player finds it by its amount."""
        if invoice.carried:
            if sum(grant.amount == invoice.carried.amount for grant in self.account.grants) > 1:
                raise OpenQuestion("which of two credits is whose")
            match = {"/origin/type": "invoice", "/amount": number(invoice.carried.amount)}
            self.ask("GET", f"/tenants/{self.key}/credit-grants?limit=500",
                     save={invoice.carried.name: {"in": "/data", "match": match, "get": "/id"}})

    def grant_state(self, grant):
        is_over = grant.is_void or grant.expires <= self.now
        expect = {"/kind": grant.kind, "/amount": number(grant.amount), "/used": number(grant.amount - grant.remaining),
                  "/remaining": number(ZERO if is_over else grant.remaining)}
        if not is_over:
            expect["/status"] = "active" if grant.remaining else "used"
        elif grant.is_void and grant.expires > self.now:
            expect["/status"] = "void"
        return expect

    def summarize(self):
        """All invoices at the end, and no others, but for drafts that were void before they had a number, and
        adjustments that are final by now or not."""
        check(self.account)
        is_open = self.adjustment_since is not None
        for status in ("finalized", "paid", "uncollectible", "void"):
            rows = [{"match": {"/id": f"${{{invoice.name}}}"},
                     "expect": {"/total": number(invoice.total), **state_expectation(invoice)}}
                    for invoice in [*self.account.standing, *self.account.replaced] if invoice.status == status]
            self.ask("GET", f"/invoices?tenant={self.key}&limit=500&status={status}",
                     expect={"/data": {"rows": rows} | ({} if is_open or status == "void" else {"extra": "none"})})

    # What the tenant and the operator do

    def act(self):
        if self.stop == len(self.stops) - 1:
            return
        self.use()
        self.give()
        if self.stop == 0:
            return
        self.correct_usage()
        if not self.account.drafts:
            self.correct_invoices()
        if not self.account.drafts and not self.account.void:
            self.move()
        self.look()

    def give(self):
        if self.chance("discounts", 0.1) and len(self.account.discounts) < 3:
            self.give_discount()
        if self.chance("credits", 0.15) and len(self.account.grants) < (12 if "credits" in self.focus else 6):
            self.give_credit()
        if self.chance("discounts", 0.04):
            self.end_discount()
        if self.chance("credits", 0.05):
            self.void_credit()
        if self.account.taxes and self.chance("rates", 0.1):
            self.change_taxes()

    def give_discount(self):
        """At most one at a stop, so that the order of creation is told."""
        body = {"name": self.name("discount"), "duration": self.rng.choice(["once", "repeating", "forever"])}
        invoices = {"once": 1, "repeating": self.rng.randint(1, 3), "forever": None}[body["duration"]]
        if body["duration"] == "repeating":
            body["invoices"] = invoices
        percent, amount = None, None
        if self.rng.random() < 0.65:
            body["percent"] = self.rng.choice(["10", "12.5", "33.3", "50"])
            percent = Fraction(body["percent"])
        else:
            body["amount"] = self.catalogue_money(100, 2500)
            amount = Fraction(body["amount"])
        self.account.discounts.append(Discount(body["name"], percent, amount, invoices))
        self.ask("POST", f"/tenants/{self.key}/discounts", body, 201, {body["name"]: "/id"},
                 {"/used": 0, "/status": "active"})

    def end_discount(self):
        active = [discount for discount in self.account.discounts if discount.is_active]
        if active:
            discount = self.rng.choice(active)
            discount.is_ended = True
            self.ask("POST", f"/tenants/{self.key}/discounts/${{{discount.name}}}/end",
                     expect={"/used": discount.used, "/status": "ended"})

    def catalogue_money(self, low, high):
        unit = Fraction(1, 10**self.account.digits)
        return decimal(self.rng.randint(low, high) * unit * (10 if self.account.digits == 3 else 1))

    def give_credit(self):
        """Where credits are looked at, small ones, so that several pay at once, which expire soon."""
        is_small = "credits" in self.focus
        kind = self.rng.choice(["promotional", "prepaid"] + ["promotional"] * 4 * is_small)
        amount, priority = self.catalogue_money(200, 2500 if is_small else 6000), self.rng.choice([0, 5, 10])
        body = {"name": self.name("credit"), "kind": kind, "amount": amount, "priority": priority}
        grant = Grant(body["name"], kind, Fraction(amount), priority, self.now, remaining=Fraction(amount))
        if self.rng.random() < 0.5:
            grant.expires = self.now + timedelta(days=self.rng.randint(5, 60), seconds=self.rng.randint(1, 60000))
            body["expires_at"] = text(grant.expires)
        self.account.grants.append(grant)
        self.ask("POST", f"/tenants/{self.key}/credit-grants", body, 201, {body["name"]: "/id"},
                 {"/remaining": number(grant.amount)})

    def void_credit(self):
        usable = [grant for grant in self.account.grants
                  if grant.was_given and grant.remaining and not grant.is_void and grant.expires > self.now]
        if usable:
            grant = self.rng.choice(usable)
            grant.is_void = True
            self.ask("POST", f"/tenants/{self.key}/credit-grants/${{{grant.name}}}/void",
                     expect=self.grant_state(grant))

    # Plan changes and the end

    def move(self):
        account = self.account
        if account.end <= self.now or self.now < account.anchor:
            return
        period = account.period(account.period_of(self.now))
        if account.end < FAR:
            if self.chance("cancel", 0.25):
                self.resume()
        elif self.has_change_to_come() and self.chance("changes", 0.25):
            self.withdraw()
        elif self.chance("changes", 0.15):
            self.change_plan(period)
        elif not self.has_change_to_come() and self.chance("cancel", 0.08):
            self.cancel(period)

    def has_change_to_come(self):
        return self.account.segments[-1].start > self.now

    def ask_subscription(self, operation, body=None, **expect):
        self.last_change = self.now
        self.ask("POST", f"/subscriptions/${{{self.key}-sub}}/{operation}", body, expect=expect)

    def change_plan(self, period):
        """To a version that neither this period nor the next has, so that its lines can be told apart."""
        account, n = self.account, self.account.period_of(self.now)
        used = {segment.plan for period in (n, n + 1) for _, segment, *_ in account.parts(period)}
        plans = [(plan, number) for plan in self.catalogue.of(account.currency)
                 for number in self.catalogue.published(plan, self.stop) if (plan, number) not in used]
        newer = [plan for plan in plans if plan[0] == account.segments[-1].plan[0]]
        if not plans:
            return
        plan, how = self.rng.choice([*plans, *newer * 3]), self.rng.choice(["now", "later", "period_end"])
        at = self.time_of(how, period)
        body, version = self.version_of(*plan)
        account.change(at, plan, version)
        rows = [{"match": {"/plan": plan[0], "/version": plan[1], "/starts_at": text(at)}, "expect": {}}]
        self.ask_subscription("change", body | {"at": text(at) if how == "later" else how},
                              **{"/segments": {"rows": rows}})

    def time_of(self, how, period):
        later = self.now + timedelta(seconds=self.rng.randrange(1, int((period[1] - self.now).total_seconds())))
        return {"now": self.now, "period_end": period[1], "later": later}[how]

    def withdraw(self):
        self.account.withdraw(self.now + timedelta(microseconds=1))
        rows = [{"match": {"/plan": segment.plan[0], "/version": segment.plan[1]}, "expect": {}}
                for segment in self.account.segments]
        self.ask_subscription("withdraw-changes", **{"/segments": {"rows": rows, "extra": "none"}})

    def cancel(self, period):
        how = self.rng.choice(["now", "later", "period_end", "period_end"])
        self.account.end = at = self.time_of(how, period)
        self.ask_subscription("cancel", {"at": text(at) if how == "later" else how}, **{"/ends_at": text(at)})
        if how == "now":
            self.steps.append({"advance": 0})
            self.draft()

    def resume(self):
        self.account.end = FAR
        self.ask_subscription("resume", **{"/ends_at": None})

    # Looking

    def look(self):
        drafts = self.account.drafts
        if len(drafts) == 1 and self.rng.random() < 0.4:
            self.look_at_draft(*drafts[0])
        elif not drafts and self.account.end > self.now >= self.account.anchor and self.rng.random() < 0.15:
            invoice = compute(self.account, "regular", self.next_period, self.now)
            self.ask("GET", f"/tenants/{self.key}/upcoming-invoice",
                     expect={"/status": "draft", "/number": None, **invoice_expectation(self.account, invoice)})

    def look_at_draft(self, drafted, kind, period):
        name = self.name("draft")
        self.ask("GET", f"/invoices?tenant={self.key}&status=draft", save={name: "/data/0/id"})
        expect = invoice_expectation(self.account, compute(self.account, kind, period, self.now))
        self.ask("GET", f"/invoices/${{{name}}}", expect={"/status": "draft", **expect})
        if self.rng.random() < 0.4:
            self.account.drafts.clear()
            invoice = self.make_final(kind, period)
            invoice.name = name
            self.ask("POST", f"/invoices/${{{name}}}/finalize", expect=expect | state_expectation(invoice))
            self.save_carried(invoice)
            self.show_balances()


def rates_of(taxes):
    return {"rates": [{"key": rate, "name": rate, "percent": decimal(percent)} for rate, percent in taxes.items()]}
