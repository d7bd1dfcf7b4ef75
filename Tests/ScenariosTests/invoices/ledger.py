"""A tenant's account: its subscription, usage, credits, discounts, invoices and credit notes, on exact fractions.

Written from docs/rules.md and openapi/openapi.yaml alone. Where the rules leave open what comes of something,
`OpenQuestion` is raised, so that the story stays away from it.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from prices import ZERO, OpenQuestion, charge, days_after, months_after, refuse_tie, rounded, spread

DIGITS = {"USD": 2, "JPY": 0, "KWD": 3}
FAR = datetime.max.replace(tzinfo=timezone.utc)
AGGREGATIONS = {"units": "sum", "payments": "sum", "calls": "count", "seats": "unique_count", "peak": "max",
                "level": "latest", "cells": "sum", "pages": "sum", "desks": "sum"}


@dataclass
class Segment:
    """`plan` is its key and the number of its version."""
    start: datetime
    plan: tuple
    version: dict


@dataclass
class Event:
    id: str
    feature: str
    time: datetime
    value: object
    labels: dict = field(default_factory=dict)
    cost: Fraction = ZERO
    is_void: bool = False


@dataclass(eq=False)
class Grant:
    """A credit. `name` is what its id is saved as. That of a credit note has no priority that the rules tell."""
    name: str
    kind: str
    amount: Fraction
    priority: int | None
    created: datetime
    expires: datetime = FAR
    remaining: Fraction = ZERO
    is_void: bool = False

    @property
    def order(self):
        return self.priority or 0, self.expires, self.created


@dataclass(eq=False)
class Discount:
    name: str
    percent: Fraction | None
    amount: Fraction | None
    invoices: int | None
    used: int = 0
    is_ended: bool = False

    @property
    def is_active(self):
        return not self.is_ended and (self.invoices is None or self.used < self.invoices)


@dataclass(eq=False)
class Line:
    """`pool` names the item that it belongs to, `key` the part of it that is rounded by itself."""
    item: str
    name: str | None
    period: int
    pool: tuple
    key: tuple
    amount: Fraction
    plan: tuple | None = None
    previously: Fraction = ZERO
    cell: dict | None = None
    quantity: tuple | None = None
    span: tuple | None = None
    discount: Fraction = ZERO
    included: Fraction = ZERO
    promotional: Fraction = ZERO
    credited_before: Fraction = ZERO
    taxes: dict = field(default_factory=dict)
    sources: dict = field(default_factory=dict)
    noted: Fraction = ZERO
    noted_taxes: Counter = field(default_factory=Counter)
    takes_back: bool = False
    is_tied: bool = False

    @property
    def net(self):
        return self.net_before_notes - self.credited_before

    @property
    def net_before_notes(self):
        return self.amount - self.discount - self.included - self.promotional

    @property
    def looks(self):
        """All but the name. Of lines that look the same any may have the larger share: the rules don't say which."""
        return (self.item, self.plan, self.span, self.amount, self.previously, self.discount, self.included,
                self.promotional, self.credited_before, self.noted)

    @property
    def tax(self):
        return sum(self.taxes.values(), ZERO)

    @property
    def noted_tax(self):
        return sum(self.noted_taxes.values(), ZERO)

    @property
    def is_of_usage(self):
        """Of what depends on each other in a period: usage, fees in arrears, commitment."""
        return self.item != "fee_in_advance"

    @property
    def can_be_discounted(self):
        return self.item != "commitment" and self.amount > 0


def spread_over(lines, weights, amount, digits):
    """By largest remainder. The rules don't say which of equal ones is larger, so such lines are to look alike."""
    def settle_tie(indices):
        if len({lines[index].looks for index in indices}) > 1:
            refuse_tie(indices)
        for index in indices:
            lines[index].is_tied = True

    return spread(amount, weights, digits, settle_tie)


@dataclass
class Pool:
    """What the invoices that stand charge for an item."""
    amount: Fraction = ZERO
    discount: Fraction = ZERO
    included: Fraction = ZERO
    promotional: Fraction = ZERO
    noted: Fraction = ZERO
    taxes: dict = field(default_factory=dict)
    sources: dict = field(default_factory=dict)
    lines: int = 0
    was_taken_back: bool = False
    is_tied: bool = False

    @property
    def net(self):
        return self.amount - self.discount - self.promotional - self.included - self.noted

    def add(self, line):
        self.lines += line.amount > 0
        self.was_taken_back |= line.takes_back
        self.is_tied |= line.is_tied
        self.amount += line.amount
        self.discount += line.discount
        self.included += line.included
        self.promotional += line.promotional
        self.noted += line.credited_before + line.noted
        for rate, tax in line.taxes.items():
            self.taxes[rate] = self.taxes.get(rate, ZERO) + tax - line.noted_taxes[rate]
        for grant, used in line.sources.items():
            self.sources[grant] = self.sources.get(grant, ZERO) + used


@dataclass(eq=False)
class Invoice:
    kind: str
    period: int
    lines: list
    inclusive: bool = False
    discounts: dict = field(default_factory=dict)
    promotional: dict = field(default_factory=dict)
    returned: dict = field(default_factory=dict)
    prepaid: dict = field(default_factory=dict)
    carried: Grant | None = None
    name: str | None = None
    finalized: datetime | None = None
    is_paid_by_money: bool = False
    status: str = "draft"
    due: Fraction = ZERO
    outstanding: Fraction = ZERO
    credited: Fraction = ZERO

    def sum(self, what):
        return sum((getattr(line, what) for line in self.lines), ZERO)

    @property
    def balance(self):
        return self.sum("net") + (ZERO if self.inclusive else self.sum("tax"))

    @property
    def total(self):
        return max(ZERO, self.balance)

    @property
    def carried_forward(self):
        return max(ZERO, -self.balance)

    @property
    def paid_by_credit(self):
        return sum(self.prepaid.values(), ZERO)

    @property
    def takes_back(self):
        return any(line.amount < 0 for line in self.lines)

    def used_of(self, grant):
        """Below zero where it gave back more."""
        return self.promotional.get(grant, ZERO) + self.prepaid.get(grant, ZERO) - self.returned.get(grant, ZERO)


def cell_of(event, dimensions):
    """An event without a dimension has the empty value."""
    return {name: event.labels.get(name, "") for name in dimensions}


class Account:
    """A tenant, its subscription and its invoices."""

    def __init__(self, key, currency, zone, anchor, plan, version, taxes, inclusive):
        self.key, self.currency, self.zone = key, currency, zone
        self.starts, self.anchor = anchor, anchor
        self.taxes, self.inclusive, self.digits = taxes, inclusive, DIGITS[currency]
        self.segments, self.end = [Segment(anchor, plan, version)], FAR
        self.events, self.grants, self.discounts = [], [], []
        self.standing, self.replaced, self.drafts = [], [], []

    def rounded(self, value):
        return rounded(value, self.digits)

    # Periods and segments

    def period(self, n):
        return months_after(self.anchor, n, self.zone), months_after(self.anchor, n + 1, self.zone)

    def period_of(self, instant):
        return next(n for n in range(100) if instant < self.period(n)[1])

    def period_end(self, n):
        return min(self.period(n)[1], self.end)

    def parts(self, n):
        """The segments of a period, with the exact part of it that each covers."""
        start, end = self.period(n)
        bounds = [segment.start for segment in self.segments[1:]] + [FAR]
        for ordinal, (segment, until) in enumerate(zip(self.segments, bounds)):
            low, high = max(start, segment.start), min(end, until, self.end)
            if low < high:
                yield ordinal, segment, low, high, Fraction(
                    (high - low) // timedelta(microseconds=1), (end - start) // timedelta(microseconds=1)
                )

    def prorated(self, n, name):
        """The commitment or the included credit of a period."""
        return sum((Fraction(s.version.get(name, "0")) * part for _, s, _, _, part in self.parts(n)), ZERO)

    def begin_with_trial(self, days):
        """Usage before the anchor is in no period, and so not charged."""
        self.anchor = days_after(self.starts, days, self.zone)
        self.segments[0].start = self.anchor

    def change(self, at, plan, version):
        self.withdraw(at)
        self.segments.append(Segment(at, plan, version))

    def withdraw(self, at):
        """The changes that were to come from then on."""
        self.segments = [segment for segment in self.segments if segment.start < at]

    # Usage

    def totals(self, feature, cell, start, end):
        """Quantity, number of events and their provider cost."""
        events = [event for event in self.events if event.feature == feature and not event.is_void]
        events = sorted((event for event in events if start <= event.time < end), key=lambda event: event.time)
        events = [event for event in events if cell is None or cell == cell_of(event, cell)]
        return self.quantity(feature, [event.value for event in events]), len(events), sum(
            (event.cost for event in events), ZERO
        )

    def quantity(self, feature, found):
        match AGGREGATIONS[feature]:
            case "sum":
                return sum(found, ZERO)
            case "count":
                return Fraction(len(found))
            case "max":
                return max(found, default=ZERO)
            case "latest":
                return found[-1] if found else ZERO
        return Fraction(len(set(found)))

    def cells(self, entry):
        """Each cell that an event is in with its price, or the feature as a whole."""
        price, found = entry["price"], []
        if price["model"] != "matrix":
            return [(None, price)]
        for event in self.events:
            cell = cell_of(event, price["dimensions"])
            if event.feature == entry["feature"] and cell not in found:
                found.append(cell)
        return [(cell, next((own["price"] for own in price["cells"] if own["match"] == cell), price["default"]))
                for cell in found]

    def counted_since(self, n, ordinal, feature):
        """Cells continue where both versions count them, else they start at zero. A feature as a whole continues."""
        start, counted = self.period(n)[0], []
        for other, segment, low, *_ in self.parts(n):
            dimensions = next((entry["price"].get("dimensions") for entry in segment.version["charges"]
                               if entry["feature"] == feature), None)
            if not counted or dimensions != counted[-1][0]:
                counted.append((dimensions, low if counted else start))
            if other == ordinal:
                break
        if not dimensions:
            return start
        if dimensions in [other for other, _ in counted[:-1]]:
            raise OpenQuestion("cells that a version before the last counted")
        return counted[-1][1]

    def usage(self, n):
        for ordinal, segment, low, high, part in self.parts(n):
            for entry in segment.version["charges"]:
                feature = entry["feature"]
                start = self.counted_since(n, ordinal, feature)
                for cell, price in self.cells(entry):
                    before, through = (self.totals(feature, cell, start, end) for end in (low, high))
                    exact = (Fraction(price["amount"]) * part if price["model"] == "flat"
                             else charge(price, *through) - charge(price, *before))
                    item = (feature, *(cell or {}).items())
                    yield Line(
                        "usage", feature, n, ("usage", n, *item), ("usage", n, ordinal, *item), self.rounded(exact),
                        segment.plan, cell=cell, quantity=(through[0] - before[0], before[0]), span=(low, high),
                    )

    def fees(self, n, charged):
        for ordinal, segment, low, high, part in self.parts(n):
            for fee in segment.version.get("fees", []):
                if fee["charged"] in charged:
                    pool = ("fee", n, ordinal, fee["key"])
                    yield Line(
                        "fee_" + fee["charged"], fee["key"], n, pool, pool,
                        self.rounded(Fraction(fee["amount"]) * part), segment.plan, span=(low, high),
                    )

    # What stands

    def pools(self):
        found = {}
        for invoice in self.standing:
            for line in invoice.lines:
                found.setdefault(line.pool, Pool()).add(line)
        return found

    def invoiced(self):
        found = {}
        for invoice in self.standing:
            for line in invoice.lines:
                found[line.key] = found.get(line.key, ZERO) + line.amount
        return found

    def finalize(self, invoice, now):
        for discount in invoice.discounts:
            discount.used += 1
        for grant, amount in invoice.returned.items():
            grant.remaining += amount
        for grant, amount in [*invoice.promotional.items(), *invoice.prepaid.items()]:
            grant.remaining -= amount
        invoice.due = invoice.outstanding = invoice.total - invoice.paid_by_credit
        invoice.status = "finalized" if invoice.due else "paid"
        if invoice.carried_forward:
            invoice.carried = Grant(
                f"{invoice.name}-carried", "prepaid", invoice.carried_forward, 0, now, remaining=invoice.carried_forward
            )
            self.grants.append(invoice.carried)
        invoice.finalized = now
        self.standing.append(invoice)

    def make_void(self, invoice):
        """Its credits and discounts come back."""
        for grant, amount in [*invoice.promotional.items(), *invoice.prepaid.items()]:
            grant.remaining += amount
        for discount in invoice.discounts:
            discount.used -= 1
        invoice.status, invoice.outstanding = "void", ZERO

    def replace(self, old):
        self.standing.remove(old)
        self.replaced.append(old)

    @property
    def void(self):
        """Invoices whose reissue is still to come."""
        return [invoice for invoice in self.standing if invoice.status == "void"]

    def waits(self, line):
        """Late usage of a void invoice's period waits for the reissue."""
        return line.item == "usage" and any((old.kind, old.period) == ("regular", line.period) for old in self.void)

    def others_say(self, invoice):
        """What other invoices charge for the items of this one, below zero where they give back."""
        items, found = {line.pool for line in invoice.lines}, {}
        for other in self.standing:
            for line in other.lines if other is not invoice else []:
                if line.pool in items:
                    found[line.pool] = found.get(line.pool, ZERO) + line.amount
        return found

    @property
    def is_plain(self):
        """Nothing but amounts: no tax, no discount and no promotional credit was ever in an invoice."""
        return not self.taxes and not any(invoice.discounts or invoice.promotional for invoice in self.standing)


# Credit notes


@dataclass
class Note:
    parts: dict
    applied: Fraction
    refunded: Fraction
    taxes: Counter

    @property
    def total(self):
        return self.applied + self.refunded


def gross_left(invoice, line):
    """What a line came to, tax included, less the credit notes before. Prices that contain tax are noted with it."""
    return line.net - line.noted + (ZERO if invoice.inclusive else line.tax - line.noted_tax)


def write_note(account, invoice, parts):
    """`parts` are amounts with tax by line. Each takes its share of the tax that is left, of all rates together."""
    total, found, taxes = sum(parts.values(), ZERO), {}, Counter()
    for line, part in parts.items():
        tax = account.rounded((line.tax - line.noted_tax) * part / gross_left(invoice, line))
        left = [amount - line.noted_taxes[rate] for rate, amount in line.taxes.items()]
        shares = Counter(dict(zip(line.taxes, spread(tax, left, account.digits))))
        found[line] = (part, tax)
        line.noted += part if invoice.inclusive else part - tax
        for rate, share in shares.items():
            line.noted_taxes[rate] += share
            taxes[rate] += share
    applied = min(total, invoice.outstanding)
    invoice.outstanding -= applied
    invoice.credited += total
    if invoice.status == "finalized" and not invoice.outstanding:
        invoice.status = "paid"
    return Note(found, applied, total - applied, taxes)
