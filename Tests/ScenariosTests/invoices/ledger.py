"""A tenant with its usage, credits and discounts, and its subscriptions with their invoices, on exact fractions.

Written from docs/rules.md and openapi/openapi.yaml alone.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from lines import Line, Pool
from prices import ZERO, charge, days_after, months_after, rounded

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
    """A credit. `name` is what its id is saved as."""
    name: str
    kind: str
    amount: Fraction
    priority: int
    created: datetime
    expires: datetime = FAR
    remaining: Fraction = ZERO
    is_void: bool = False
    was_given: bool = True
    is_note = False

    @property
    def order(self):
        return self.priority, self.expires, self.created


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


def dimensions_of(version, feature):
    return next((entry["price"].get("dimensions") for entry in version["charges"] if entry["feature"] == feature), None)


def text_of(cell):
    return json.dumps(cell, sort_keys=True, separators=(",", ":"))


def cell_of(event, dimensions):
    """An event without a dimension has the empty value."""
    return {name: event.labels.get(name, "") for name in dimensions}


class Tenant:
    """What the subscriptions of a tenant have together."""

    def __init__(self, key, currency, zone, taxes, inclusive):
        self.key, self.currency, self.zone, self.digits = key, currency, zone, DIGITS[currency]
        self.taxes, self.inclusive = taxes, inclusive
        self.events, self.grants, self.discounts, self.accounts = [], [], [], []

    @property
    def drafts(self):
        return [draft for account in self.accounts for draft in account.drafts]

    @property
    def standing(self):
        return [invoice for account in self.accounts for invoice in account.standing]

    @property
    def replaced(self):
        return [invoice for account in self.accounts for invoice in account.replaced]

    def covers(self, instant):
        return any(account.starts <= instant < account.end for account in self.accounts)


class Account:
    """A subscription of a tenant and its invoices."""

    def __init__(self, tenant, starts, plan, version):
        tenant.accounts.append(self)
        self.tenant, self.name = tenant, f"{tenant.key}-sub{len(tenant.accounts)}"
        self.key, self.currency, self.zone, self.digits = tenant.key, tenant.currency, tenant.zone, tenant.digits
        self.events, self.grants, self.discounts = tenant.events, tenant.grants, tenant.discounts
        self.starts, self.anchor, self.segments, self.end = starts, starts, [Segment(starts, plan, version)], FAR
        self.standing, self.replaced, self.drafts = [], [], []
        self.next_period, self.is_closed, self.is_touched, self.has_empty_draft = 0, False, False, False
        self.opening_due = any(fee["charged"] == "in_advance" for fee in version["fees"])
        self.last_change = starts - timedelta(days=1)

    @property
    def taxes(self):
        return self.tenant.taxes

    @property
    def inclusive(self):
        return self.tenant.inclusive

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

    def totals(self, feature, cell, spans):
        """Quantity, number of events and their provider cost."""
        events = [event for event in self.events if event.feature == feature and not event.is_void]
        events = sorted((event for event in events if any(start <= event.time < end for start, end in spans)),
                        key=lambda event: event.time)
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
                for cell in sorted(found, key=text_of)]

    def counted_before(self, n, ordinal, feature):
        """The spans of the period that count before a segment: all for a feature as a whole, for cells those of
        versions that have the same dimensions."""
        parts = {other: (dimensions_of(segment.version, feature), low, high)
                 for other, segment, low, high, _ in self.parts(n)}
        own = parts[ordinal][0]
        return [(low, high) for other, (dimensions, low, high) in parts.items()
                if other < ordinal and (not own or dimensions == own)]

    def usage(self, n):
        for ordinal, segment, low, high, part in self.parts(n):
            for entry in segment.version["charges"]:
                feature = entry["feature"]
                spans = self.counted_before(n, ordinal, feature)
                for cell, price in self.cells(entry):
                    before, through = (self.totals(feature, cell, found) for found in (spans, [*spans, (low, high)]))
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
                if fee["charged"] == charged:
                    pool = ("fee_" + charged, n, ordinal, fee["key"])
                    yield Line(
                        pool[0], fee["key"], n, pool, pool,
                        self.rounded(Fraction(fee["amount"]) * part), segment.plan, span=(low, high),
                    )

    # What stands

    def pools(self):
        """By item. A void invoice counts for nothing."""
        found = {}
        for invoice in self.standing:
            for line in invoice.lines if invoice.status != "void" else []:
                found.setdefault(line.pool, Pool()).add(line)
        return found

    def invoiced(self):
        found = {}
        for invoice in self.standing:
            for line in invoice.lines if invoice.status != "void" else []:
                found[line.key] = found.get(line.key, ZERO) + line.amount
        return found

    def touch(self, instant):
        """Usage of then has changed. Where it is invoiced already, that is adjusted."""
        if self.next_period and self.anchor <= instant < self.period_end(self.next_period - 1):
            self.is_touched = True

    def draft(self, now):
        """What periods that are over by now, or that begin, make due. One that ends within its trial costs nothing."""
        if self.opening_due and self.anchor <= now and self.anchor < self.end:
            self.drafts.append((now, "opening", 0))
            self.opening_due = False
        while not self.is_closed and self.period_end(self.next_period) <= now:
            n = self.next_period
            self.is_closed = self.end <= self.period(n)[1]
            if self.period(n)[0] < self.end:
                self.drafts.append((now, "regular", n))
                self.next_period += 1
            elif any(key[:2] == ("fee_in_advance", n) and pool.amount for key, pool in self.pools().items()):
                self.drafts.append((now, "adjustment", n))

    def finalize(self, invoice, now):
        if invoice.kind != "opening" and invoice.period >= self.next_period - 1:
            self.is_touched = False
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
                f"{invoice.name}-carried", "prepaid", invoice.carried_forward, 0, now,
                remaining=invoice.carried_forward, was_given=False,
            )
            self.grants.append(invoice.carried)
        invoice.finalized = now
        self.standing.append(invoice)

    def make_void(self, invoice):
        """Its credits and discounts come back, and the credit that it made is gone."""
        for grant, amount in [*invoice.promotional.items(), *invoice.prepaid.items()]:
            grant.remaining += amount
        for grant, amount in invoice.returned.items():
            grant.remaining -= amount
        if invoice.carried:
            invoice.carried.is_void = True
        for discount in invoice.discounts:
            discount.used -= 1
        self.is_touched = self.is_touched or invoice.kind != "opening"
        invoice.status, invoice.outstanding = "void", ZERO

    def replace(self, old):
        self.standing.remove(old)
        self.replaced.append(old)

    @property
    def void(self):
        """Invoices whose reissue is still to come."""
        return [invoice for invoice in self.standing if invoice.status == "void"]

    def waits(self, line):
        """What a void invoice charged, and late usage of its period, waits for the reissue. So does all of the period
        of one that was void as a draft."""
        return any((line.is_of_usage or old.was_draft) and (old.kind, old.period) == ("regular", line.period)
                   or any(line.pool == other.pool for other in old.lines if not line.is_of_usage) for old in self.void)

    def others_say(self, invoice):
        """What other invoices charge for the items of this one, below zero where they give back."""
        items, found = {line.pool for line in invoice.lines}, {}
        for other in self.standing:
            for line in other.lines if other is not invoice else []:
                if line.pool in items:
                    found[line.pool] = found.get(line.pool, ZERO) + line.amount
        return found
