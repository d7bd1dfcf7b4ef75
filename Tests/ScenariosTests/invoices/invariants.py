"""What must be so of every account: sums add up, no credit is lost or made."""

from ledger import gross_left
from prices import ZERO


def check(account):
    for grant in account.grants:
        check_credit(account, grant)
    for invoice in account.standing:
        check_sums(invoice)
        for line in invoice.lines:
            check_line(account, invoice, line)
    below_zero = {line.pool for invoice in account.standing for line in invoice.lines
                  if line.amount < 0 and not line.takes_back}
    for key, pool in account.pools().items():
        if key not in below_zero:
            check_item(pool)


def check_credit(account, grant):
    """What was granted is what remains and what invoices that stand used of it, less what they gave back."""
    used = sum((invoice.used_of(grant) for invoice in account.standing if invoice.status != "void"), ZERO)
    assert ZERO <= grant.remaining <= grant.amount and grant.amount - grant.remaining == used, grant


def check_sums(invoice):
    parts = sum((invoice.sum(what) for what in ("discount", "included", "promotional", "credited_before")), ZERO)
    net = invoice.sum("amount") - parts + (ZERO if invoice.inclusive else invoice.sum("tax"))
    assert invoice.total - invoice.carried_forward == net, invoice
    taken = sum((line.discount for line in invoice.lines if not line.takes_back), ZERO)
    assert sum(invoice.discounts.values(), ZERO) == taken, invoice
    assert ZERO <= invoice.outstanding <= invoice.due == invoice.total - invoice.paid_by_credit, invoice
    assert invoice.credited == sum((noted(invoice, line) for line in invoice.lines), ZERO) <= invoice.total, invoice


def noted(invoice, line):
    return line.noted + (ZERO if invoice.inclusive else line.noted_tax)


def check_line(account, invoice, line):
    for part in (line.amount, line.discount, line.included, line.promotional, line.tax, line.noted, line.noted_tax):
        assert (part * 10**account.digits).denominator == 1, line
    assert line.amount < 0 or (line.net >= 0 and gross_left(invoice, line) >= 0), line


def check_item(pool):
    """Parts that make up the whole give back exactly what there was."""
    parts = [pool.discount, pool.included, pool.promotional, pool.noted, *pool.taxes.values()]
    assert pool.amount >= 0 and min(parts) >= 0, pool
    assert pool.amount or not any([pool.discount, pool.promotional, pool.noted, *pool.taxes.values()]), pool
