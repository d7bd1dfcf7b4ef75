"""Credit notes, written from docs/rules.md alone."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from lines import Pool, total
from prices import ZERO, spread


@dataclass(eq=False)
class Note:
    created: datetime
    parts: dict = field(repr=False)
    applied: Fraction = ZERO
    refunded: Fraction = ZERO
    taxes: Counter | None = None
    is_note = True

    @property
    def total(self):
        return self.applied + self.refunded


def pool_of(account, line):
    """What is left of the item with what later invoices gave back of it, where they did."""
    invoices = [invoice for invoice in account.standing if any(other.pool == line.pool for other in invoice.lines)]
    if len(invoices) < 2:
        return None
    pool = Pool()
    for other in (other for invoice in invoices for other in invoice.lines if other.pool == line.pool):
        pool.add(other)
    return pool


def taxes_left(account, line):
    pool = pool_of(account, line)
    return {rate: pool.taxes[rate] if pool else tax - line.noted_taxes[rate] for rate, tax in line.taxes.items()}


def net_left(account, line):
    pool = pool_of(account, line)
    return pool.net if pool else line.net - line.noted


def gross_left(account, invoice, line):
    """What a line came to, tax included, less the credit notes before, and less what later invoices have given back of
    it. Prices that contain tax are noted with it."""
    return net_left(account, line) + (ZERO if invoice.inclusive else total(taxes_left(account, line).values()))


def write_note(account, invoice, parts, now):
    """`parts` are amounts with tax by line. Each takes its share of the tax that is left, of all rates together."""
    note, taxes = Note(now, {}), Counter()
    for line, part in parts.items():
        left = taxes_left(account, line)
        tax = account.rounded(total(left.values()) * part / gross_left(account, invoice, line))
        shares = dict(zip(left, spread(tax, [*left.values()], account.digits)))
        note.parts[line] = (part, tax)
        line.notes[note] += part if invoice.inclusive else part - tax
        for rate, share in shares.items():
            line.noted_taxes[rate] += share
            taxes[rate] += share
    noted = total(parts.values())
    note.applied, note.taxes = min(noted, invoice.outstanding), taxes
    note.refunded = noted - note.applied
    invoice.outstanding -= note.applied
    invoice.credited += noted
    if invoice.status == "finalized" and not invoice.outstanding:
        invoice.status = "paid"
    return note
