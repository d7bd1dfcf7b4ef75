"""What must be so of every subscription: sums add up, no credit is lost or made."""

from lines import Pool
from prices import ZERO


def check(account):
    for grant in account.grants:
        check_credit(account, grant)
    for invoice in account.standing:
        check_sums(invoice)
        for line in invoice.lines:
            check_line(account, invoice, line)
    for source, amount in Pool.together(account.pools().values()).sources.items():
        check_source(account, source, amount)
    pools = account.pools()
    for n in {key[1] for key in pools} if not account.void else []:
        check_period(Pool.together(pool for key, pool in pools.items() if key[1] == n))


def check_source(account, source, amount):
    """What lines say of a credit is what the invoices say of it; of a credit note no more than it took is left."""
    if source.is_note:
        taken = sum((part if account.inclusive else part - tax for part, tax in source.parts.values()), ZERO)
        assert ZERO <= amount <= taken, source
    else:
        used = (invoice.used_of(source) for invoice in account.standing if invoice.status != "void")
        assert ZERO <= amount == sum(used, ZERO), source


def check_period(pool):
    assert pool.net or not any(pool.taxes.values()), pool


def check_credit(account, grant):
    """What was granted is what remains and what invoices that stand used of it, less what they gave back."""
    used = sum((invoice.used_of(grant) for invoice in account.tenant.standing if invoice.status != "void"), ZERO)
    assert ZERO <= grant.remaining <= grant.amount and grant.amount - grant.remaining == used, grant


def check_sums(invoice):
    parts = sum((invoice.sum(what) for what in ("discount", "included", "promotional", "credited_before")), ZERO)
    net = invoice.sum("amount") - parts + (ZERO if invoice.inclusive else invoice.sum("tax"))
    assert invoice.total - invoice.carried_forward == net, invoice
    taken = invoice.sum("discount") - invoice.sum("discount_before")
    assert sum(invoice.discounts.values(), ZERO) == taken, invoice
    assert ZERO <= invoice.outstanding <= invoice.due == invoice.total - invoice.paid_by_credit, invoice
    assert invoice.credited == sum((noted(invoice, line) for line in invoice.lines), ZERO) <= invoice.total, invoice


def noted(invoice, line):
    return line.noted + (ZERO if invoice.inclusive else line.noted_tax)


def check_line(account, invoice, line):
    for part in (line.amount, line.discount, line.included, line.promotional, line.tax, line.noted, line.noted_tax):
        assert (part * 10**account.digits).denominator == 1, line
    left = line.net - line.noted + (ZERO if invoice.inclusive else line.tax - line.noted_tax)
    assert line.amount < 0 or (line.net >= 0 and left >= 0), line
