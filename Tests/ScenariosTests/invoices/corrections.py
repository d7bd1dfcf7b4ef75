"""Corrections of invoices in the story of a tenant: payments, credit notes, voids and reissues."""

from collections import Counter
from fractions import Fraction

from computation import compute
from expectations import decimal, invoice_expectation, line_match, number, state_expectation
from invariants import check
from ledger import Grant
from lines import Invoice, total
from notes import gross_left, write_note
from prices import ZERO, spread


class Corrections:
    """What the operator does about invoices that are final."""

    def last_invoice(self):
        return next((invoice for invoice in reversed(self.account.standing) if invoice.finalized), None)

    def correct_invoices(self):
        invoice = self.last_invoice()
        if invoice is None:
            return
        self.collect(self.rng.choice([invoice, *self.account.standing]))
        creditable = [invoice for invoice in self.account.standing if self.can_be_credited(invoice)]
        if creditable and self.chance("notes", 0.4 if self.tenant.taxes else 0.2):
            self.credit(self.rng.choice(creditable))
        if self.account.void and self.rng.random() < 0.35:
            self.ask_for_reissue(self.rng.choice(self.account.void))
        elif not self.account.void and self.chance("voids", 0.25):
            self.void_one()
        if not self.account.void:
            self.refuse_what_came_back()
        if self.made_again and self.rng.random() < 0.3:
            self.reissue_in_vain()

    def collect(self, invoice):
        """It is paid, given up, or paid after all."""
        if invoice.status == "finalized" and self.rng.random() < (0.04 if "voids" in self.extras else 0.15):
            self.pay(invoice)
        elif invoice.status == "finalized" and self.rng.random() < 0.05:
            invoice.status = "uncollectible"
            self.ask("POST", f"/invoices/${{{invoice.name}}}/mark-uncollectible", expect=state_expectation(invoice))
        elif invoice.status == "uncollectible" and self.rng.random() < 0.1:
            self.pay(invoice)
        elif invoice.status in ("paid", "uncollectible") and self.rng.random() < 0.05:
            actions = ["pay", "mark-uncollectible"] if invoice.status == "paid" else ["mark-uncollectible"]
            for action in ["finalize", "reissue", *actions]:
                self.ask("POST", f"/invoices/${{{invoice.name}}}/{action}", None, 409,
                         expect={"/code": "invoice_status"})

    def pay(self, invoice):
        invoice.status, invoice.outstanding, invoice.is_paid_by_money = "paid", ZERO, True
        self.ask("POST", f"/invoices/${{{invoice.name}}}/pay", expect=state_expectation(invoice))
        if not invoice.credited and not invoice.takes_back and not self.account.others_say(invoice):
            self.refuse_void(invoice, "invoice_paid")

    def refuse_void(self, invoice, code, body=None):
        self.ask("POST", f"/invoices/${{{invoice.name}}}/void", body, 409, expect={"/code": code})

    def can_be_credited(self, invoice):
        """Of an invoice of which later ones have given something back, only what is told exactly: where each item that
        others are about is charged by this one alone, and no part of its periods comes to less than nothing."""
        account, others = self.account, self.account.others_say(invoice)
        if invoice.status == "void" or invoice.takes_back or not any(self.lefts(invoice).values()):
            return False
        if any(line.pool in others for old in account.void for line in old.lines):
            return False
        charged = Counter(line.pool for line in invoice.lines)
        charged += Counter(line.pool for other in account.standing if other is not invoice
                           for line in other.lines if line.amount > 0)
        periods = {line.period for line in invoice.lines}
        pools = [pool for key, pool in account.pools().items() if key[1] in periods and key[0] != "fee_in_advance"]
        return not others or (all(charged[pool] == 1 for pool in others) and all(
            pool.amount >= 0 and pool.net >= 0 and min(pool.taxes.values(), default=0) >= 0 for pool in pools))

    def lefts(self, invoice):
        """What credit notes can still take of each line."""
        lefts = {line: gross_left(self.account, invoice, line) for line in invoice.shown()}
        return {line: left for line, left in lefts.items() if left > 0}

    def credit(self, invoice):
        lefts, name = self.lefts(invoice), self.name("note")
        body = {"reason": "Goodwill"} | ({"refund": "external"} if self.rng.random() < 0.3 else {})
        parts = (self.amount_of_note if self.rng.random() < 0.5 else self.line_of_note)(invoice, lefts, name, body)
        if parts:
            self.show_note(invoice, write_note(self.account, invoice, parts, self.now), name, body)

    def part_of(self, left):
        """A random part, or the whole."""
        unit = Fraction(1, 10**self.tenant.digits)
        return left if self.rng.random() < 0.25 else unit * self.rng.randint(1, int(left / unit))

    def amount_of_note(self, invoice, lefts, name, body):
        amount = self.part_of(sum(lefts.values(), ZERO))
        body["amount"] = decimal(amount)
        shares = spread(amount, [*lefts.values()], self.tenant.digits)
        return {line: share for line, share in zip(lefts, shares) if share}

    def line_of_note(self, invoice, lefts, name, body):
        """Of a line that looks like no other. The rules don't say which number it has, so the player looks it up."""
        line, left = self.rng.choice([*lefts.items()])
        if sum(line_match(other) == line_match(line) for other in invoice.lines) > 1:
            return None
        amount = self.part_of(left)
        save = {f"{name}-line": {"in": "/lines", "match": line_match(line), "get": "/line"}}
        self.ask("GET", f"/invoices/${{{invoice.name}}}", save=save)
        body["lines"] = [{"line": f"${{{name}-line:bare}}", "amount": decimal(amount)}]
        return {line: amount}

    def show_note(self, invoice, note, name, body):
        tax = sum((tax for _, tax in note.parts.values()), ZERO)
        is_credit = note.refunded > 0 and "refund" not in body
        if is_credit:
            grant = Grant(f"{name}-grant", "prepaid", note.refunded, 0, self.now, remaining=note.refunded,
                          was_given=False)
            self.tenant.grants.append(grant)
        amounts = Counter(part for part, _ in note.parts.values())
        rows = [{"match": {"/amount": number(part)}, "expect": {
            "/tax": number(tax), "/amount_excluding_tax": number(part - tax)} if amounts[part] == 1 else {}}
            for part, tax in note.parts.values()]
        expect = {"/total": number(note.total), "/tax": number(tax), "/total_excluding_tax": number(note.total - tax),
                  "/taxes": {"rows": [{"match": {"/rate": rate}, "expect": {"/amount": number(amount)}}
                                      for rate, amount in note.taxes.items() if amount], "extra": "zero_amount"},
                  "/applied_to_due": number(note.applied), "/refunded": number(note.refunded),
                  "/lines": {"rows": rows, "extra": "zero_amount"}} | ({} if is_credit else {"/credit_grant": None})
        path = f"/invoices/${{{invoice.name}}}/credit-notes"
        self.ask("POST", path, body, 201, {f"{name}-grant": "/credit_grant"} if is_credit else None, expect)
        unit = Fraction(1, 10**self.tenant.digits)
        excess = {"amount": decimal(unit + total(self.lefts(invoice).values()))}
        if "lines" in body:
            left = gross_left(self.account, invoice, *note.parts)
            excess = {"lines": [{"line": body["lines"][0]["line"], "amount": decimal(left + unit)}]}
        self.ask("POST", path, {"reason": "Too much", **excess}, 422, expect={"/code": "credit_exceeds_invoice"})
        if invoice.status == "finalized":
            self.refuse_void(invoice, "invoice_has_credit_notes")
        self.ask("GET", f"/invoices/${{{invoice.name}}}",
                 expect=invoice_expectation(self.account, invoice) | state_expectation(invoice))

    def can_be_voided(self, invoice):
        """It was not paid by money, has no credit notes, and what was changed before is in an invoice."""
        return (invoice.status in ("finalized", "paid", "uncollectible") and not invoice.is_paid_by_money
                and (invoice.kind != "adjustment" or self.account.is_closed) and not invoice.credited
                and self.account.last_change < self.last_invoice().finalized and not self.has_change_to_come()
                and self.is_back(invoice) and self.gave_nothing_back(invoice))

    def is_back(self, invoice):
        """Credit that it gave back or made is there still, and no credit note was written since it took something
        back."""
        has_notes = any(note.created >= invoice.finalized for other in self.account.standing for line in other.lines
                        for note in line.notes)
        is_there = not invoice.carried or invoice.carried.remaining == invoice.carried.amount
        return is_there and (not invoice.takes_back or not has_notes) and all(
            grant.remaining >= amount and not grant.is_void and grant.expires > self.now
            for grant, amount in invoice.returned.items())

    def later(self, invoice):
        return self.account.standing[self.account.standing.index(invoice) + 1:]

    def gave_nothing_back(self, invoice):
        """No later invoice gave back, or paid other things by, what promotional credit or a credit note paid of this
        one."""
        sources = {source for line in invoice.lines for source in line.sources}
        return not any(line.sources[source] < 0 for other in self.later(invoice) for line in other.lines
                       for source in sources)

    def refuse_what_came_back(self):
        """An invoice whose credit, that paid nothing else, a later one gave back."""
        for invoice in self.account.standing:
            users = [other for other in self.tenant.standing for grant in invoice.promotional
                     if other.promotional.get(grant)]
            is_open = invoice.status == "finalized" and not invoice.credited and not invoice.takes_back
            if is_open and set(users) == {invoice} and not self.gave_nothing_back(invoice):
                if any(other.returned.get(grant) for other in self.later(invoice) for grant in invoice.promotional):
                    return self.refuse_void(invoice, "credit_returned", {"reissue": True})

    def void_one(self):
        """Rather one that others have given back from."""
        candidates = [invoice for invoice in self.account.standing[-3:] if self.can_be_voided(invoice)]
        adjusted = [invoice for invoice in candidates if self.others_gave_back(invoice)]
        if candidates:
            self.void(self.rng.choice(adjusted or candidates))

    def others_gave_back(self, invoice):
        """More of something that it charges for its own period, or in advance, than the remaining ones charged."""
        own = {line.pool for line in invoice.lines if invoice.kind != "adjustment" and line.period >= invoice.period}
        return any(amount < 0 for pool, amount in self.account.others_say(invoice).items() if pool in own)

    def void(self, invoice):
        at_once = self.rng.random() < 0.4
        if self.others_gave_back(invoice):
            self.refuse_void(invoice, "adjusted_by_later_invoice")
            at_once = True
        path = f"/invoices/${{{invoice.name}}}/void"
        self.account.make_void(invoice)
        if at_once:
            new = self.name("inv")
            self.ask("POST", path, {"reissue": True}, status=201, save={new: "/id"},
                     expect={"/status": "draft", "/reissue_of": f"${{{invoice.name}}}"})
            return self.reissue(invoice, new)
        self.ask("POST", path, expect={"/status": "void", "/total": number(invoice.total)})
        self.show_balances()
        if self.rng.random() < 0.3:
            self.ask_for_reissue(invoice)
        elif self.is_adjusted_again(invoice):
            self.account.replace(invoice)
            self.find_made_again(invoice)

    @staticmethod
    def is_adjusted_again(invoice):
        """By itself, and not only by its reissue: what was of usage."""
        return invoice.kind == "adjustment" and all(line.is_of_usage for line in invoice.lines)

    def find_made_again(self, old):
        """A voided adjustment has a draft in its place, which is not its reissue."""
        old.is_made_again = True
        self.settle()
        if self.account.drafts and self.rng.random() < 0.6:
            self.ask("POST", f"/invoices/${{{old.name}}}/reissue", None, 409, expect={"/code": "adjustment_drafted"})
            self.look_at_drafts()

    @property
    def made_again(self):
        """Void adjustments that were made again by themselves."""
        return [old for old in self.account.replaced if old.is_made_again]

    def reissue_in_vain(self):
        """It has nothing to say."""
        name, old, self.has_void_drafts = self.name("draft"), self.rng.choice(self.made_again), True
        if self.account.is_touched or compute(self.account, old.kind, old.period, self.now).lines:
            return
        self.ask("POST", f"/invoices/${{{old.name}}}/reissue", status=201, save={name: "/id"},
                 expect={"/status": "draft", "/reissue_of": f"${{{old.name}}}", "/lines": []})
        self.ask("POST", f"/invoices/${{{name}}}/finalize", None, 409, expect={"/code": "nothing_to_invoice"})
        self.ask("POST", f"/invoices/${{{name}}}/void", expect={"/status": "void"})

    def void_draft(self, account, draft, name):
        """It has charged nothing yet. What usage of its period costs comes by the reissue, fees in advance that no
        other invoice has charged by the next invoice as well. An adjustment of usage is drafted again."""
        self.account, self.has_void_drafts = account, True
        account.drafts.remove(draft)
        self.ask("POST", f"/invoices/${{{name}}}/void", expect={"/status": "void", "/number": None})
        old = Invoice(*draft[1:], [], self.tenant.inclusive, name=name, status="void", was_draft=True)
        if draft[1] == "adjustment" and self.is_adjusted_again(compute(account, *draft[1:], self.now)):
            account.replaced.append(old)
            account.is_touched = True
            self.find_made_again(old)
        else:
            account.standing.append(old)
        self.account = self.tenant.accounts[-1]

    def ask_for_reissue(self, invoice):
        new = self.name("inv")
        self.ask("POST", f"/invoices/${{{invoice.name}}}/reissue", status=201, save={new: "/id"},
                 expect={"/status": "draft", "/reissue_of": f"${{{invoice.name}}}"})
        self.reissue(invoice, new)

    def reissue(self, old, name):
        self.account.replace(old)
        invoice = compute(self.account, old.kind, old.period, self.now)
        invoice.name = name
        if old.kind == "adjustment" and not invoice.lines:
            self.has_void_drafts = True
            self.ask("POST", f"/invoices/${{{name}}}/finalize", None, 409, expect={"/code": "nothing_to_invoice"})
            return self.ask("POST", f"/invoices/${{{name}}}/void", expect={"/status": "void"})
        self.account.finalize(invoice, self.now)
        self.ask("POST", f"/invoices/${{{name}}}/finalize",
                 expect=invoice_expectation(self.account, invoice) | state_expectation(invoice))
        self.save_carried(invoice)
        self.ask("GET", f"/invoices/${{{old.name}}}", expect={"/status": "void"} | (
            {} if old.was_draft else {"/total": number(old.total)}))
        self.ask("POST", f"/invoices/${{{old.name}}}/reissue", status=409, expect={"/code": "invoice_reissued"})
        self.ask("POST", f"/invoices/${{{old.name}}}/credit-notes", {"reason": "Void", "amount": "1"}, 409,
                 expect={"/code": "invoice_status"})
        self.show_balances()
        check(self.account)
