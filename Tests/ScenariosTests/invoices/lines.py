"""Lines of invoices, what the invoices that stand charge for an item, and invoices."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from prices import ZERO


def total(amounts):
    return sum(amounts, ZERO)


class Charged:
    """What an amount comes to after what lowers it."""

    @property
    def left(self):
        """After discounts and included credit."""
        return self.amount - self.discount - self.included

    @property
    def net(self):
        return self.left - total(self.sources.values())


@dataclass(eq=False)
class Line(Charged):
    """`pool` names the item that it belongs to, `key` the part of it that is rounded by itself. `sources` are the
    credits and credit notes that paid of it, below zero where they come back, `notes` what credit notes took of it."""
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
    discount_before: Fraction = ZERO
    included: Fraction = ZERO
    taxes: dict = field(default_factory=dict)
    sources: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    noted_taxes: Counter = field(default_factory=Counter)
    takes_back: bool = False
    comes_to_nothing_before: bool = False

    @property
    def promotional(self):
        return total(amount for source, amount in self.sources.items() if not source.is_note)

    @property
    def credited_before(self):
        return total(amount for source, amount in self.sources.items() if source.is_note)

    @property
    def noted(self):
        return total(self.notes.values())

    @property
    def tax(self):
        return total(self.taxes.values())

    @property
    def noted_tax(self):
        return total(self.noted_taxes.values())

    @property
    def is_of_usage(self):
        """Of what depends on each other in a period: usage, fees in arrears, commitment, included credit."""
        return self.item != "fee_in_advance"

    @property
    def can_be_discounted(self):
        return self.item not in ("commitment", "included_credit")


@dataclass
class Pool(Charged):
    """What the invoices that stand charge for an item, or for several items together."""
    amount: Fraction = ZERO
    discount: Fraction = ZERO
    included: Fraction = ZERO
    sources: Counter = field(default_factory=Counter)
    taxes: Counter = field(default_factory=Counter)

    def add(self, line):
        self.amount += line.amount
        self.discount += line.discount
        self.included += line.included
        for amounts in (line.sources, line.notes):
            for source, amount in amounts.items():
                self.sources[source] += amount
        for rate, tax in line.taxes.items():
            self.taxes[rate] += tax - line.noted_taxes[rate]

    @staticmethod
    def together(pools):
        found = Pool()
        for pool in pools:
            found.amount += pool.amount
            found.discount += pool.discount
            found.included += pool.included
            for own, other in ((found.sources, pool.sources), (found.taxes, pool.taxes)):
                for key, amount in other.items():
                    own[key] += amount
        return found


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
    carried: object = None
    name: str | None = None
    finalized: datetime | None = None
    is_paid_by_money: bool = False
    was_draft: bool = False
    is_made_again: bool = False
    status: str = "draft"
    due: Fraction = ZERO
    outstanding: Fraction = ZERO
    credited: Fraction = ZERO

    def sum(self, what):
        return total(getattr(line, what) for line in self.lines)

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
        return total(self.prepaid.values())

    @property
    def takes_back(self):
        return any(line.amount < 0 for line in self.lines)

    def used_of(self, grant):
        """Below zero where it gave back more."""
        return self.promotional.get(grant, ZERO) + self.prepaid.get(grant, ZERO) - self.returned.get(grant, ZERO)

    def kind_of(self, line):
        """An adjustment is the change of what was invoiced before, or is of an earlier period."""
        if self.kind == "adjustment" or line.previously or line.period < self.period:
            return "adjustment"
        if line.item == "included_credit":
            return "adjustment"
        return line.item if line.item in ("usage", "commitment") else "fee"

    def shown(self):
        """The lines in the order in which they are shown."""
        kinds = ["fee", "usage", "commitment", "adjustment"]
        return sorted(self.lines, key=lambda line: kinds.index(self.kind_of(line)))
