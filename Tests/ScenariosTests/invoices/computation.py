"""How an invoice is put together, written from docs/rules.md alone."""

from lines import Invoice, Line, Pool, total
from prices import ZERO, OpenQuestion, spread
from takeback import Item, PeriodBack, tax_of_items


def compute(account, kind, n, now):
    """The invoice of a period as if it were the next to be finalised."""
    return Computation(account, kind, n, now).invoice()


def grouped(lines, key):
    found = {}
    for line in lines:
        found.setdefault(key(line), []).append(line)
    return found


class Computation:
    """One invoice, put together in the order that the rules give."""

    def __init__(self, account, kind, n, now):
        self.account, self.kind, self.n, self.now = account, kind, n, now
        self.digits, self.pools = account.digits, account.pools()
        self.invoiced, self.lines = account.invoiced(), []
        self.available = {grant: grant.remaining for grant in account.grants}
        self.discounts, self.returned, self.promotional = {}, {}, {}

    def invoice(self):
        self.add_items()
        self.discount_back()
        self.discount()
        if self.kind != "opening":
            for n in self.periods():
                if not self.waits(n):
                    self.commit(n)
                    self.include(n)
        self.give_back()
        self.promote()
        self.tax()
        found = Invoice(
            self.kind, self.n, self.lines, self.account.inclusive, self.discounts, self.promotional, self.returned
        )
        found.prepaid = self.pay(found.total)
        return found

    def periods(self):
        """The invoice's own, then each earlier one, oldest first."""
        return [self.n, *range(self.n)]

    def waits(self, n):
        return any((old.kind, old.period) == ("regular", n) for old in self.account.void)

    def items(self):
        return [Item(lines, self.pools.get(key, Pool()), self.account)
                for key, lines in grouped(self.lines, lambda line: line.pool).items()]

    # 1. Fees and usage

    def add_items(self):
        account = self.account
        if self.kind == "opening":
            return self.add(account.fees(0, "in_advance"))
        for period in self.periods():
            self.add(account.fees(period, "in_arrears"))
            self.add(account.fees(period, "in_advance"))
            self.add(account.usage(period))
            if (self.kind, period) == ("regular", self.n) and account.end > account.period(period)[1]:
                self.add(account.fees(period + 1, "in_advance"))

    def add(self, lines):
        for line in lines:
            line.comes_to_nothing_before = line.key in self.invoiced and not self.invoiced[line.key]
            line.previously += self.invoiced.get(line.key, ZERO)
            line.amount -= line.previously
            if line.amount and not self.account.waits(line):
                self.lines.append(line)

    # 2. Discounts

    def discount_back(self):
        """What is taken back takes its own discount with it, as does what makes good what invoices have given back."""
        for item in self.items():
            item.mark()
            charged = item.pool.amount
            moved = item.moved(charged, item.amount)
            share = self.account.rounded(item.pool.discount * moved / charged) if moved else ZERO
            for line, part in zip(item.lines, item.spread(-share, [line.amount for line in item.lines])):
                line.discount = line.discount_before = part

    def discount(self):
        """Those of now, each of what those before it left of an item; all of them at once over its lines."""
        items = [item for item in self.items() if item.lines[0].can_be_discounted and item.amount_of_now > 0]
        taken = [ZERO for _ in items]
        for discount in self.account.discounts:
            if discount.is_active:
                shares = self.shares_of(discount, [item.amount_of_now - off for item, off in zip(items, taken)])
                taken = [off + share for off, share in zip(taken, shares)]
                if total(shares):
                    self.discounts[discount] = total(shares)
        for item, off in zip(items, taken):
            for line, part in zip(item.lines, item.spread(off, [line.amount for line in item.lines])):
                line.discount += part

    def shares_of(self, discount, left):
        if discount.percent:
            return [self.account.rounded(amount * discount.percent / 100) for amount in left]
        return spread(min(discount.amount, total(left)), left, self.digits)

    # 3. Commitment

    def commit(self, n):
        spent = total(pool.amount - pool.discount for key, pool in self.pools.items() if key[:2] == ("usage", n))
        spent += total(line.amount - line.discount for line in self.lines if line.pool[:2] == ("usage", n))
        missing = max(ZERO, self.account.prorated(n, "minimum_commitment") - spent)
        self.add_of_period("commitment", n, self.account.rounded(missing))

    def add_of_period(self, item, n, amount, previously=ZERO):
        self.add([Line(item, None, n, (item, n), (item, n), amount, previously=previously)])

    # 4. Included and promotional credit

    def include(self, n):
        """Over a period's usage, fees in arrears and commitment: a line of its own once some of these stand."""
        lines, pools = self.of_period(n), self.pools_of_period(n)
        stands = any((old.kind, old.period, old.status == "void") == ("regular", n, False)
                     for old in self.account.standing)
        charged = total(pool.amount - pool.discount for key, pool in pools.items() if key[0] != "included_credit")
        charged += total(line.amount - line.discount for line in lines)
        included = max(ZERO, min(self.account.rounded(self.account.prorated(n, "included_credit")), charged))
        if stands or pools:
            given = total(pool.included for pool in pools.values())
            return self.add_of_period("included_credit", n, -included, -given)
        above = [line for line in lines if line.net > 0]
        for line, share in zip(above, spread(included, [line.net for line in above], self.digits)):
            line.included = share

    def of_period(self, n):
        return [line for line in self.lines if line.period == n and line.is_of_usage]

    def pools_of_period(self, n):
        return {key: pool for key, pool in self.pools.items() if key[0] != "fee_in_advance" and key[1] == n}

    def give_back(self):
        """Promotional credit goes back to the credits it came from, and may be used at once."""
        self.backs = {n: PeriodBack(self.account, self.items(), self.of_period(n), self.pools_of_period(n))
                      for n in dict.fromkeys(line.period for line in self.lines if line.is_of_usage)}
        for item in self.items():
            if not item.is_of_usage:
                item.take_back(Pool.together([item.pool]).sources)
        for back in self.backs.values():
            back.take_back()
        for line in self.lines:
            for source, amount in line.sources.items():
                if not source.is_note:
                    self.returned[source] = self.returned.get(source, ZERO) - amount
                    self.available[source] -= amount
        self.returned = {grant: amount for grant, amount in self.returned.items() if amount}

    def rooms(self):
        """What promotional credit may pay of each line: of those of a period together their sum, over those above zero,
        less what invoices that stand have given back beyond what they charged."""
        found = {}
        for key, lines in grouped(self.lines, lambda line: line.period if line.is_of_usage else line.pool).items():
            pools = self.pools_of_period(key).values() if lines[0].is_of_usage else [self.pools.get(key, Pool())]
            above = [line for line in lines if line.net > 0]
            room = max(ZERO, total(line.net for line in lines) + min(ZERO, Pool.together(pools).net))
            found |= dict(zip(above, spread(room, [line.net for line in above], self.digits)))
        return {line: found[line] for line in self.lines if found.get(line)}

    def promote(self):
        """No more than the invoice comes to: what it takes back elsewhere would be money that credit had become."""
        rooms, usable = self.rooms(), self.usable("promotional")
        most = max(ZERO, total(line.net for line in self.lines))
        most = min(most, total(rooms.values()), total(self.available[grant] for grant in usable))
        for line, share in zip(rooms, spread(most, [*rooms.values()], self.digits)):
            for grant in usable:
                used = min(share, self.available[grant])
                if used:
                    line.sources[grant] += used
                    self.promotional[grant] = self.promotional.get(grant, ZERO) + used
                    self.available[grant] -= used
                    share -= used

    def usable(self, kind):
        found = [grant for grant in self.account.grants if grant.kind == kind and self.is_usable(grant)]
        return sorted(found, key=lambda grant: grant.order)

    def is_usable(self, grant):
        return not grant.is_void and grant.expires > self.now and self.available[grant] > 0

    # 5. Tax

    def tax(self):
        tax_of_items(self.account, [item for item in self.items() if not item.is_of_usage])
        for back in self.backs.values():
            back.tax()
        for n in dict.fromkeys(line.period for line in self.lines):
            for is_of_usage in (False, True):
                lines = [line for line in self.lines if (line.period, line.is_of_usage) == (n, is_of_usage)]
                pools = [pool for key, pool in self.pools.items()
                         if key[1] == n and (key[0] != "fee_in_advance") == is_of_usage]
                self.clear_tax(Pool.together(pools), lines)

    def clear_tax(self, pool, lines):
        """A period that comes to nothing has no tax left, and one that comes to more has none below zero."""
        net = pool.net + total(line.net for line in lines)
        taxes = {rate: pool.taxes[rate] + total(line.taxes.get(rate, ZERO) for line in lines)
                 for rate in {**pool.taxes, **self.account.taxes}}
        too_much = {rate: tax for rate, tax in taxes.items() if tax and (net == 0 or tax < 0)}
        back = [line for line in lines if line.net < 0 or line.takes_back and self.is_adjustment(line)]
        if net < 0 or not too_much or not back:
            return
        line = min(back, key=lambda line: line.net)
        for rate, tax in too_much.items():
            line.taxes[rate] = line.taxes.get(rate, ZERO) - tax

    def is_adjustment(self, line):
        return line.amount < 0 and (self.kind == "adjustment" or line.previously != 0 or line.period < self.n)

    # 6. Prepaid credit

    def pay(self, due):
        usable, found = self.usable("prepaid"), {}
        held = total(self.available[grant] for grant in usable)
        if len({grant.order for grant in usable}) < len(usable) and ZERO < due < held:
            raise OpenQuestion("which of two credits of one instant has the lower id")
        for grant in usable:
            used = min(self.available[grant], due)
            if used:
                found[grant] = used
                due -= used
        return found
