"""The story of one tenant."""

import random
from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from computation import compute
from corrections import Corrections
from expectations import decimal, invoice_expectation, number, request, state_expectation, text
from invariants import check
from ledger import DIGITS, Discount, Grant, Tenant
from prices import ZERO, OpenQuestion, to_instant
from subscriptions import ZONES, Subscriptions
from usage import Usage

GRACE = timedelta(hours=24)
ANCHORS = [(2026, 10, 31, 0), (2026, 11, 1, 0), (2026, 11, 15, 9), (2026, 11, 20, 17), (2026, 12, 1, 0),
           (2026, 11, 30, 0), (2026, 11, 1, 1), (2026, 10, 29, 13), (2026, 10, 22, 6)]


class Teller(Usage, Corrections, Subscriptions):
    """The story of one tenant. It acts at the stops of the clock, which are the same for all tenants."""

    def __init__(self, seed, key, extras, focus, catalogue, stops):
        """What a story is to focus on happens more often."""
        self.rng, self.key, self.catalogue, self.stops = random.Random(seed), key, catalogue, stops
        self.extras = {extra for extra in extras if self.rng.random() < 0.75} | set(focus)
        self.focus = focus
        self.steps, self.now, self.stop, self.counter = [], stops[0], 0, Counter()
        self.has_void_drafts = False

    def tell(self):
        """The steps at each stop."""
        told = []
        for self.stop, self.now in enumerate(self.stops):
            self.steps = []
            if self.stop == 0:
                self.arrange()
            self.close()
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
        inclusive, self.is_taxed = inclusive and bool(taxes) and not is_reverse, bool(taxes)
        self.percents = {**taxes}
        self.tenant = Tenant(self.key, currency, ZoneInfo(zone), {} if is_reverse else taxes, inclusive)
        body = {"key": self.key, "name": self.key, "currency": currency, "timezone": zone}
        if taxes:
            body["billing"] = {"tax": rates_of(taxes) | {"inclusive": inclusive, "reverse_charge": is_reverse}}
        self.ask("POST", "/tenants", body, 201)
        self.subscribe(anchor, plan, 1)

    def random_taxes(self):
        taxes = self.rng.choice([{"vat": "19"}, {"sales": "8.25"}, {"state": "7", "city": "1.5"},
                                 {"gst": "5", "qst": "9.975", "levy": "0.5"}])
        return {rate: Fraction(percent) for rate, percent in taxes.items()}

    def change_taxes(self):
        """A new percentage is a rate with a key of its own, but where no invoice that stands has the key. Some rates
        may stay, or there may be none. How a tenant is billed is replaced whole."""
        old, new = [*self.tenant.taxes.items()], [*self.random_taxes().items()]
        choices = [new, new, new, old[:1] + new, new[-1:] + old, old[1:], old[::-1], []]
        taxes, used = dict(self.rng.choice(choices)), self.rates_in_use()
        taxes = {rate: used.get(rate, percent + self.rng.choice([0, 0, 1])) for rate, percent in taxes.items()}
        self.percents |= taxes
        is_reverse = not self.tenant.inclusive and self.rng.random() < 0.1
        self.tenant.taxes = {} if is_reverse else taxes
        tax = rates_of(taxes) | {"inclusive": self.tenant.inclusive, "reverse_charge": is_reverse}
        self.ask("PATCH", f"/tenants/{self.key}", {"billing": {"tax": tax}})

    def rates_in_use(self):
        """Of which invoices that stand have tax, with their percentages."""
        return {rate: self.percents[rate] for invoice in self.tenant.standing if invoice.status != "void"
                for line in invoice.lines for rate, tax in line.taxes.items() if tax}

    def refuse_taxes(self):
        """What invoices that stand were taxed by holds."""
        used, inclusive = self.rates_in_use(), self.tenant.inclusive
        if not used:
            return
        rate = self.rng.choice([*used])
        tax, code = rates_of({rate: used[rate] + 1}) | {"inclusive": inclusive}, "tax_rate_in_use"
        if self.rng.random() < 0.5:
            tax, code = rates_of(self.tenant.taxes) | {"inclusive": not inclusive}, "tax_inclusion_in_use"
        self.ask("PATCH", f"/tenants/{self.key}", {"billing": {"tax": tax}}, 409, expect={"/code": code})

    # Invoices that come of themselves

    def close(self):
        made = []
        for account in self.tenant.accounts:
            account.has_empty_draft = False
            for drafted, kind, period in [*account.drafts]:
                if drafted + GRACE < self.now:
                    account.drafts.remove((drafted, kind, period))
                    made.append((account, self.make_final(account, kind, period)))
        if len({account for account, _ in made}) > 1 and (self.tenant.grants or self.tenant.discounts):
            raise OpenQuestion("which of two subscriptions has the credit")
        for account, invoice in made:
            self.show(account, invoice, [other for _, other in made])
        if made:
            self.show_balances()
        self.draft()

    def make_final(self, account, kind, period):
        invoice = compute(account, kind, period, self.now)
        if kind == "adjustment" and not invoice.lines:
            raise OpenQuestion("what becomes of the draft of an adjustment that would change nothing")
        invoice.name = self.name("inv")
        account.finalize(invoice, self.now)
        check(account)
        return invoice

    def draft(self):
        """An adjustment where usage changed and no regular invoice follows that would have it."""
        for account in self.tenant.accounts:
            account.draft(self.now)
            if account.is_closed and account.is_touched and not account.drafts:
                n = max(0, account.next_period - 1)
                if compute(account, "adjustment", n, self.now).lines:
                    account.drafts.append((self.now, "adjustment", n))
                else:
                    account.has_empty_draft = self.has_void_drafts = True
                account.is_touched = False

    def settle(self):
        """What is due is drafted now."""
        self.steps.append({"advance": 0})
        self.draft()

    def show(self, account, invoice, made):
        """Finds the invoice by what was issued since the last stop, and looks at all of it."""
        looks = [self.look_of(other) for other in made if other.kind == invoice.kind]
        if looks.count(self.look_of(invoice)) > 1:
            raise OpenQuestion("which of two invoices of one moment is whose")
        since, until = (text(stop + timedelta(seconds=1)) for stop in (self.stops[self.stop - 1], self.now))
        rows = {"rows": [{"match": look, "expect": {}} for look in looks]}
        if not self.has_void_drafts:
            rows["extra"] = "none"
        save = {"in": "/data", "match": self.look_of(invoice), "get": "/id"}
        self.ask("GET", f"/invoices?tenant={self.key}&kind={invoice.kind}&from={since}&to={until}",
                 save={invoice.name: save}, expect={"/data": rows})
        self.ask("GET", f"/invoices/${{{invoice.name}}}",
                 expect=invoice_expectation(account, invoice) | state_expectation(invoice))
        self.save_carried(invoice)

    @staticmethod
    def look_of(invoice):
        return {"/invoice_kind": invoice.kind, "/total": number(invoice.total),
                "/amount_outstanding": number(invoice.outstanding)}

    def show_balances(self):
        if self.tenant.grants:
            rows = [{"match": {"/id": f"${{{grant.name}}}"}, "expect": self.grant_state(grant)}
                    for grant in self.tenant.grants]
            self.ask("GET", f"/tenants/{self.key}/credit-grants?limit=500",
                     expect={"/data": {"rows": rows, "extra": "none"}})
        if self.tenant.discounts:
            rows = [{"match": {"/name": discount.name}, "expect": {
                "/used": discount.used, "/status": "active" if discount.is_active else "ended"}}
                for discount in self.tenant.discounts]
            self.ask("GET", f"/tenants/{self.key}/discounts?limit=500",
                     expect={"/data": {"rows": rows, "extra": "none"}})

    def save_carried(self, invoice):
        """The id of the credit that it made. The player finds it by its amount, and by whether it is void."""
        if invoice.carried:
            alike = [grant for grant in self.tenant.grants if grant.amount == invoice.carried.amount]
            if sum(not grant.is_void for grant in alike) > 1:
                raise OpenQuestion("which of two credits is whose")
            match = {"/origin/type": "invoice", "/amount": number(invoice.carried.amount)}
            if len(alike) > 1:
                match["/status"] = "active" if invoice.carried.remaining else "used"
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
        """All invoices at the end, and no others, but for drafts that were void before they had a number."""
        for account in self.tenant.accounts:
            check(account)
        for status in ("finalized", "paid", "uncollectible", "void"):
            rows = [{"match": {"/id": f"${{{invoice.name}}}"},
                     "expect": {"/total": number(invoice.total), **state_expectation(invoice)}}
                    for invoice in [*self.tenant.standing, *self.tenant.replaced]
                    if invoice.status == status and not invoice.was_draft]
            self.ask("GET", f"/invoices?tenant={self.key}&limit=500&status={status}",
                     expect={"/data": {"rows": rows} | ({} if status == "void" else {"extra": "none"})})

    # What the tenant and the operator do

    def act(self):
        if self.stop == len(self.stops) - 1:
            return
        self.use()
        self.give()
        if self.stop == 0:
            return
        self.account = self.rng.choice(self.tenant.accounts)
        self.correct_usage()
        if not self.tenant.drafts:
            self.correct_invoices()
        self.account = self.tenant.accounts[-1]
        if not self.account.void and (not self.tenant.drafts or self.chance("again", 0.3)):
            self.move()
            self.start_again()
        if self.chance("again", 0.8):
            self.end_between()
        if any(account.is_closed and account.is_touched and not account.drafts for account in self.tenant.accounts):
            self.settle()
        self.look()

    def give(self):
        if self.chance("discounts", 0.1) and len(self.tenant.discounts) < 3:
            self.give_discount()
        if self.chance("credits", 0.15) and len(self.tenant.grants) < (12 if "credits" in self.focus else 6):
            self.give_credit()
        if self.chance("discounts", 0.04):
            self.end_discount()
        if self.chance("credits", 0.05):
            self.void_credit()
        if self.is_taxed and self.chance("rates", 0.1):
            self.change_taxes()
        if self.is_taxed and self.chance("rates", 0.05):
            self.refuse_taxes()

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
        self.tenant.discounts.append(Discount(body["name"], percent, amount, invoices))
        self.ask("POST", f"/tenants/{self.key}/discounts", body, 201, {body["name"]: "/id"},
                 {"/used": 0, "/status": "active"})

    def end_discount(self):
        active = [discount for discount in self.tenant.discounts if discount.is_active]
        if active:
            discount = self.rng.choice(active)
            discount.is_ended = True
            self.ask("POST", f"/tenants/{self.key}/discounts/${{{discount.name}}}/end",
                     expect={"/used": discount.used, "/status": "ended"})

    def catalogue_money(self, low, high):
        unit = Fraction(1, 10**self.tenant.digits)
        return decimal(self.rng.randint(low, high) * unit * (10 if self.tenant.digits == 3 else 1))

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
        self.tenant.grants.append(grant)
        self.ask("POST", f"/tenants/{self.key}/credit-grants", body, 201, {body["name"]: "/id"},
                 {"/remaining": number(grant.amount)})

    def void_credit(self):
        usable = [grant for grant in self.tenant.grants
                  if grant.was_given and grant.remaining and not grant.is_void and grant.expires > self.now]
        if usable:
            grant = self.rng.choice(usable)
            grant.is_void = True
            self.ask("POST", f"/tenants/{self.key}/credit-grants/${{{grant.name}}}/void",
                     expect=self.grant_state(grant))

    # Looking

    def look(self):
        drafts, account = self.tenant.drafts, self.account
        drafted = [account for account in self.tenant.accounts if account.drafts]
        if len(drafted) > 1 and (self.tenant.grants or self.tenant.discounts):
            self.finalize_all(drafted)
        elif drafts and self.rng.random() < 0.4:
            self.look_at_draft(drafted[0], drafted[0].drafts[0])
        elif not drafts and account.end > self.now >= account.anchor and self.rng.random() < 0.15:
            invoice = compute(account, "regular", account.next_period, self.now)
            self.ask("GET", f"/tenants/{self.key}/upcoming-invoice",
                     expect={"/status": "draft", "/number": None, **invoice_expectation(account, invoice)})
        elif self.rng.random() < 0.2:
            self.look_at_drafts()

    def has_empty_draft(self):
        """The rules don't say whether what changes nothing is drafted."""
        return any(account.has_empty_draft for account in self.tenant.accounts)

    def look_at_drafts(self):
        if self.has_empty_draft():
            return
        rows = [{"match": {"/invoice_kind": kind, "/subscription": f"${{{account.name}}}"}, "expect": {}}
                for account in self.tenant.accounts for _, kind, _ in account.drafts]
        self.ask("GET", f"/invoices?tenant={self.key}&status=draft&limit=500",
                 expect={"/data": {"rows": rows, "extra": "none"}})

    def name_draft(self, account, draft):
        """By its kind and the start of its period, which the rules don't say of an adjustment."""
        name, (_, kind, period) = self.name("draft"), draft
        match = {"/invoice_kind": kind}
        if kind != "adjustment":
            match["/period/start"] = text(account.period(period)[0])
        elif [other for _, other, _ in self.tenant.drafts].count(kind) > 1 or self.has_empty_draft():
            raise OpenQuestion("which of two adjustments is whose")
        self.ask("GET", f"/invoices?tenant={self.key}&status=draft&limit=500",
                 save={name: {"in": "/data", "match": match, "get": "/id"}})
        return name

    def look_at_draft(self, account, draft):
        name, (_, kind, period) = self.name_draft(account, draft), draft
        invoice = compute(account, kind, period, self.now)
        expect = invoice_expectation(account, invoice) | {"/subscription": f"${{{account.name}}}"}
        self.ask("GET", f"/invoices/${{{name}}}", expect={"/status": "draft", **expect})
        if kind == "adjustment" and not invoice.lines:
            return
        if self.rng.random() < 0.4:
            self.finalize(account, draft, name)
        elif self.chance("voids", 0.2) and all(other is account for other in self.tenant.accounts if other.drafts):
            self.void_draft(account, draft, name)

    def finalize_all(self, accounts):
        """Of several subscriptions, so that it is told whose comes first."""
        self.rng.shuffle(accounts)
        for account in accounts:
            for draft in [*account.drafts]:
                self.finalize(account, draft, self.name_draft(account, draft))

    def finalize(self, account, draft, name):
        account.drafts.remove(draft)
        invoice = self.make_final(account, *draft[1:])
        invoice.name = name
        self.ask("POST", f"/invoices/${{{name}}}/finalize",
                 expect=invoice_expectation(account, invoice) | state_expectation(invoice))
        self.save_carried(invoice)
        self.show_balances()


def rates_of(taxes):
    return {"rates": [{"key": rate, "name": rate, "percent": decimal(percent)} for rate, percent in taxes.items()]}
