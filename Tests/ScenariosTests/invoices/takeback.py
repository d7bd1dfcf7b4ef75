"""What is taken back takes with it, in proportion, what its item was charged with. Written from docs/rules.md alone."""

from collections import Counter

from lines import Pool, total
from prices import ZERO, OpenQuestion, spread, spread_signed


def in_order(sources):
    """Credits before credit notes, and lower ids first."""
    found = sorted((source for source, amount in sources.items() if amount > 0),
                   key=lambda source: (source.is_note, source.created))
    if len({(source.is_note, source.created) for source in found}) < len(found):
        raise OpenQuestion("which of two credits of one instant has the lower id")
    return found


def move(account, line, amount, left, sign):
    """Over the credits and credit notes that are left, which have as much less then."""
    sources = in_order(left)
    for source, share in zip(sources, spread(amount, [left[source] for source in sources], account.digits)):
        line.sources[source] += sign * share
        left[source] -= share


class Item:
    """The lines of an item on an invoice, beside what the invoices that stand charge for it."""

    def __init__(self, lines, pool, account):
        self.lines, self.pool, self.account = lines, pool, account

    @property
    def is_of_usage(self):
        return self.lines[0].is_of_usage

    @property
    def amount(self):
        return total(line.amount for line in self.lines)

    @property
    def net(self):
        return total(line.net for line in self.lines)

    @staticmethod
    def moved(charged, amount):
        """What of an amount goes back of what was charged, below zero where it makes good what was given back."""
        if charged > 0 > amount:
            return min(-amount, charged)
        return -min(amount, -charged) if charged < 0 < amount else ZERO

    def mark(self):
        for line in self.lines:
            line.takes_back = self.amount < 0

    @property
    def amount_of_now(self):
        """What is charged more has the discounts of now, without what makes good."""
        return self.amount + self.moved(self.pool.amount, self.amount)

    def spread(self, amount, weights):
        return spread_signed(amount, weights, self.account.digits) if amount else [ZERO for _ in self.lines]

    def take_back(self, held):
        """Promotional credit and what credit notes gave back, together, but no more than all hold still."""
        if self.amount >= 0:
            return
        left = Counter({source: min(amount, held[source]) for source, amount in self.pool.sources.items()
                        if min(amount, held[source]) > 0})
        charged = self.pool.left
        both = min(total(left.values()), max(charged, ZERO))
        back = -total(line.left for line in self.lines)
        if both and back < charged:
            both = self.account.rounded(both * back / charged)
        below = [line for line in self.lines if line.amount < 0]
        for line, share in zip(below, spread(both, [-line.left for line in below], self.account.digits)):
            before = Counter(left)
            move(self.account, line, share, left, -1)
            held.subtract(before - left)

    # Tax

    def within(self):
        """What of the item's own tax goes back, or makes good."""
        return self.moved(self.pool.net, self.net)

    def add_tax(self, taxes):
        """Over its lines, in proportion to what is left of them, where taxes by rate go back."""
        for rate, tax in taxes.items():
            for line, part in zip(self.lines, self.spread(-tax, [line.net for line in self.lines])):
                line.taxes[rate] = line.taxes.get(rate, ZERO) + part


def share_of(account, taxes, part, whole):
    return {rate: account.rounded(tax * part / whole) for rate, tax in taxes.items()} if part else {}


def tax_of_items(account, items, period=None):
    """Each item's own tax, then that of what goes back beyond it from the period's, one after the other, and what is
    beyond that as of any line. All that goes back of an item is spread over its lines at once."""
    left = period or Pool()
    net, taxes, own = left.net, Counter(left.taxes), []
    for item in items:
        within = item.within()
        own.append(Counter(share_of(account, item.pool.taxes, within, item.pool.net)))
        net -= within
        taxes.subtract(own[-1])
    for item, found in zip(items, own):
        rest = item.net + item.within()
        if item.amount < 0 and rest > 0:
            raise OpenQuestion("an item that is taken back is left with something above zero")
        if item.amount < 0 and rest < 0:
            part = min(-rest, max(ZERO, net))
            beyond = share_of(account, taxes, part, net)
            found.update(beyond)
            net -= part
            taxes.subtract(beyond)
            rest += part
        tax_item(account, item, found, rest)


def tax_item(account, item, found, rest):
    """What is charged more, or goes back beyond all that was charged, is taxed like any line."""
    contained = total(account.taxes.values()) if account.inclusive else ZERO
    shares = {rate: percent / (100 + contained) for rate, percent in account.taxes.items()}
    if rest == item.net and (rest or item.amount >= 0):
        for line in item.lines:
            line.taxes |= {rate: account.rounded(line.net * share) for rate, share in shares.items()}
    else:
        found.update({rate: -account.rounded(rest * share) for rate, share in shares.items()})
        item.add_tax(found)


class PeriodBack:
    """Usage, fees in arrears, commitment and included credit of a period, which depend on each other."""

    def __init__(self, account, items, lines, pools):
        self.account, self.lines = account, lines
        self.items = [item for item in items if item.lines[0] in lines]
        self.pool = Pool.together(pools.values())

    def take_back(self):
        for item in self.items:
            item.mark()
        held = Counter(self.pool.sources)
        for item in self.items:
            item.take_back(held)
        self.keep_money(held)
        self.pay_first(held)

    def keep_money(self, held):
        """No more money goes back than was paid: what is beyond goes back as credits and credit notes."""
        below = [line for line in self.lines if line.net < 0]
        back = -total(line.net for line in below)
        beyond = min(back, back - self.pool.net, total(held[source] for source in in_order(held)))
        if beyond > 0:
            for line, share in zip(below, spread(beyond, [-line.net for line in below], self.account.digits)):
                move(self.account, line, share, held, -1)

    def pay_first(self, held):
        """What came back pays first for lines above zero, as far as all come to more than what is held still."""
        came_back = Counter()
        for line in self.lines:
            for source, amount in line.sources.items():
                came_back[source] -= amount
        room = self.pool.left + total(line.left for line in self.lines) - total(held.values())
        above = [line for line in self.lines if line.net > 0]
        paid = min(total(came_back.values()), room, total(line.net for line in above))
        if paid > 0:
            for line, share in zip(above, spread(paid, [line.net for line in above], self.account.digits)):
                move(self.account, line, share, came_back, 1)

    def tax(self):
        tax_of_items(self.account, self.items, self.pool)
