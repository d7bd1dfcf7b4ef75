"""How an invoice is put together, written from docs/rules.md alone."""

from ledger import Invoice, Line, spread_over
from prices import ZERO, OpenQuestion, spread


def compute(account, kind, n, now):
    """The invoice of a period as if it were the next to be finalised."""
    return Computation(account, kind, n, now).invoice()


def grouped(lines, key):
    found = {}
    for line in lines:
        found.setdefault(key(line), []).append(line)
    return [*found.values()]


class Computation:
    """One invoice, put together in the order that the rules give."""

    def __init__(self, account, kind, n, now):
        self.account, self.kind, self.n, self.now = account, kind, n, now
        self.digits, self.pools = account.digits, account.pools()
        self.available = {grant: grant.remaining for grant in account.grants}
        self.lines, self.discounts, self.returned = [], {}, {}
        self.promotional, self.prepaid = {}, {}

    def invoice(self):
        self.add_items()
        for line in self.lines:
            if line.takes_back:
                self.take_back(line)
        self.discount()
        if self.kind != "opening":
            for n in range(self.n + 1):
                self.commit(n)
                self.include(n)
                self.settle(n)
        self.promote()
        self.check_made_good()
        self.tax()
        found = Invoice(
            self.kind, self.n, self.lines, self.account.inclusive, self.discounts, self.promotional, self.returned
        )
        found.prepaid = self.pay(found.total)
        return found

    # 1. Fees and usage

    def add_items(self):
        account, n = self.account, self.n
        if self.kind == "opening":
            return self.add(account.fees(0, ["in_advance"]))
        for period in range(n + 1):
            self.add(account.fees(period, ["in_advance", "in_arrears"]))
            self.add(account.usage(period))
        if self.kind == "regular" and account.end > account.period(n)[1]:
            self.add(account.fees(n + 1, ["in_advance"]))

    def add(self, lines):
        invoiced = self.account.invoiced()
        for line in lines:
            line.previously = invoiced.get(line.key, ZERO)
            line.amount -= line.previously
            if line.amount and not self.account.waits(line):
                self.check_void(line)
                line.takes_back = line.amount < 0 and line.pool in self.pools
                self.lines.append(line)

    def check_void(self, line):
        if line.amount < 0 and any(line.pool == other.pool for invoice in self.account.void for other in invoice.lines):
            raise OpenQuestion("what a void invoice charged is taken back")

    def take_back(self, line):
        """What is taken back takes with it, in proportion, what its item was charged with."""
        pool, part = self.pools[line.pool], -line.amount
        same = [other for other in self.lines if other.pool == line.pool]
        has_more = pool.discount or pool.promotional or pool.noted or any(pool.taxes.values()) or pool.included
        if len(same) > 1 and has_more:
            raise OpenQuestion("parts of one item are taken back together")
        if pool.included and (pool.promotional or any(pool.taxes.values()) or pool.noted):
            raise OpenQuestion("what was paid by included credit is taken back with its tax")
        if pool.is_tied:
            raise OpenQuestion("which of equal remainders was larger")
        if pool.noted and pool.lines > 1:
            raise OpenQuestion("an item of several lines was credited")
        if part > pool.amount:
            raise OpenQuestion("more is taken back than was charged")
        share = part / pool.amount
        line.discount = -self.account.rounded(pool.discount * share)
        line.promotional = -self.account.rounded(pool.promotional * share)
        line.credited_before = -self.account.rounded(pool.noted * share)
        left = pool.amount - pool.discount - pool.promotional
        if left and line.credited_before != self.account.rounded(pool.noted * line.net_before_notes / left):
            raise OpenQuestion("whether a note's share is one of the amount or of what discount and credit left of it")
        if pool.net and not pool.included:
            for rate, tax in pool.taxes.items():
                line.taxes[rate] = self.account.rounded(tax * line.net / pool.net)
        self.give_back(line, pool)

    def give_back(self, line, pool):
        """Promotional credit goes back to the credits it came from, and may be used at once."""
        if not line.promotional:
            return
        sources = [grant for grant, used in pool.sources.items() if used]
        if len(sources) > 1:
            raise OpenQuestion("which of several credits comes back")
        grant = sources[0]
        line.sources[grant] = line.promotional
        self.returned[grant] = self.returned.get(grant, ZERO) - line.promotional
        self.available[grant] -= line.promotional

    # 2. Discounts

    def discount(self):
        for discount in self.account.discounts:
            if discount.is_active:
                lines = [line for line in self.lines if line.can_be_discounted]
                shares = self.percent_off(discount, lines) if discount.percent else self.amount_off(discount, lines)
                for line, share in zip(lines, shares):
                    line.discount += share
                if sum(shares, ZERO):
                    self.discounts[discount] = sum(shares, ZERO)

    def percent_off(self, discount, lines):
        found = {}
        for item in grouped(self.lines, lambda line: line.pool):
            found |= self.item_off(item, discount.percent)
        return [found.get(line, ZERO) for line in lines]

    def item_off(self, item, percent):
        """Usage of a feature counts over all segments: with several lines the rules don't say where the share is."""
        left = {line: line.amount - line.discount for line in item if line.can_be_discounted}
        if left and len(left) < len(item):
            raise OpenQuestion("a line below zero lowers the discount of the others")
        shares = {line: self.account.rounded(amount * percent / 100) for line, amount in left.items()}
        together = self.account.rounded(sum(left.values(), ZERO) * percent / 100)
        if len(left) > 1 and spread(together, [*left.values()], self.digits) != [*shares.values()]:
            raise OpenQuestion("the percentage of an item of several lines is rounded")
        return shares

    def amount_off(self, discount, lines):
        """Spread over items, and of each over its lines, or over all lines: where that differs the rules don't say."""
        charged = {line.pool for line in lines}
        if any(line.amount < 0 and (line.pool in charged or not line.takes_back) for line in self.lines):
            raise OpenQuestion("an amount is taken off an item with a line below zero")
        weights = {line: line.amount - line.discount for line in lines}
        amount = min(discount.amount, sum(weights.values(), ZERO))
        if sum((line.amount - line.discount for line in self.lines), ZERO) < amount:
            raise OpenQuestion("whether what is taken back lowers the most that a discount takes off")
        shares = dict(zip(lines, spread_over(lines, [*weights.values()], amount, self.digits)))
        items = grouped(lines, lambda line: line.pool)
        if len(items) < len(lines):
            rooms = spread(amount, [sum(weights[line] for line in item) for item in items], self.digits)
            for item, room in zip(items, rooms):
                if spread(room, [weights[line] for line in item], self.digits) != [shares[line] for line in item]:
                    raise OpenQuestion("an amount is taken off an item of several lines")
        return [*shares.values()]

    # 3. Commitment

    def commit(self, n):
        spent = sum((pool.amount - pool.discount for key, pool in self.pools.items() if key[:2] == ("usage", n)), ZERO)
        spent += sum((line.amount - line.discount for line in self.lines if line.pool[:2] == ("usage", n)), ZERO)
        missing = max(ZERO, self.account.prorated(n, "minimum_commitment") - spent)
        pool = ("commitment", n)
        line = Line("commitment", None, n, pool, pool, self.account.rounded(missing))
        before = len(self.lines)
        self.add([line])
        if len(self.lines) > before and line.takes_back:
            self.take_back(line)

    # 4. Included and promotional credit

    def include(self, n):
        """Over a period's usage, fees in arrears and commitment."""
        included = self.account.rounded(self.account.prorated(n, "included_credit"))
        lines = [line for line in self.lines if line.period == n and line.is_of_usage]
        arrears = self.arrears_pools(n)
        if not included or not (lines or arrears):
            return
        if n < self.n or arrears:
            charged = sum((pool.amount - pool.discount for pool in arrears), ZERO)
            charged += sum((line.amount - line.discount for line in lines), ZERO)
            if min(included, charged) != sum((pool.included for pool in arrears), ZERO):
                raise OpenQuestion("included credit of a period that is invoiced changes")
            return
        room, lines = max(ZERO, sum((line.net for line in lines), ZERO)), [line for line in lines if line.net > 0]
        shares = spread_over(lines, [line.net for line in lines], min(included, room), self.digits)
        for line, share in zip(lines, shares):
            line.included = share

    def arrears_pools(self, n):
        arrears = {line.pool for line in self.account.fees(n, ["in_arrears"])}
        return [
            pool for key, pool in self.pools.items()
            if key in arrears or key[:2] in (("usage", n), ("commitment", n))
        ]

    def settle(self, n):
        """What came back of a period, from credits and credit notes, pays first for what else it has come to cost."""
        back = [line for line in self.lines if line.period == n and line.is_of_usage and line.takes_back]
        grants = {grant for line in back for grant in line.sources}
        promotional, noted = (-sum((getattr(line, what) for line in back), ZERO)
                              for what in ("promotional", "credited_before"))
        lines = [line for line in self.lines if line.period == n and line.is_of_usage and line.net > 0]
        if not lines or not (promotional or noted):
            return
        if promotional and noted or len(grants) > 1:
            raise OpenQuestion("what of that which comes back pays first")
        weights = [line.net for line in lines]
        shares = spread_over(lines, weights, min(promotional + noted, sum(weights, ZERO)), self.digits)
        for line, share in zip(lines, shares):
            if noted:
                line.credited_before = share
            else:
                self.use(*grants, line, share)

    def use(self, grant, line, amount):
        if not self.is_usable(grant):
            raise OpenQuestion("a credit that is lost pays for what else the period is charged")
        line.promotional += amount
        line.sources[grant] = line.sources.get(grant, ZERO) + amount
        self.promotional[grant] = self.promotional.get(grant, ZERO) + amount
        self.available[grant] -= amount

    def rooms(self):
        """What promotional credit may pay of each line, in minor units and exactly: of those of a period together their
        sum, over those above zero."""
        found = {}
        for lines in grouped(self.lines, lambda line: line.period if line.is_of_usage else line.key):
            net, above = max(ZERO, sum((line.net for line in lines), ZERO)), [line for line in lines if line.net > 0]
            weights = [line.net for line in above]
            rooms = spread_over(above, weights, net, self.digits)
            found |= {line: (room, line.net * net / sum(weights)) for line, room in zip(above, rooms) if room}
        return found

    def promote(self):
        """No more than the invoice comes to: what it takes back elsewhere would be money that credit had become."""
        rooms, most = self.rooms(), max(ZERO, sum((line.net for line in self.lines), ZERO))
        lines, left, found = [*rooms], [room for room, _ in rooms.values()], {}
        for grant in self.usable("promotional"):
            used = min(self.available[grant], sum(left, ZERO), most)
            found[grant] = spread_over(lines, left, used, self.digits)
            left = [room - share for room, share in zip(left, found[grant])]
            most -= used
        taken = [room - rest for (room, _), rest in zip(rooms.values(), left)]
        for weights in zip(*rooms.values()):
            if taken != spread_over(lines, weights, sum(taken, ZERO), self.digits):
                raise OpenQuestion("credits are spread one by one or together, over rounded rooms or exact ones")
        for grant, shares in found.items():
            for line, share in zip(lines, shares):
                if share:
                    self.use(grant, line, share)

    def check_made_good(self):
        """What makes good again for something that was taken back takes that one's share, but of how much?"""
        for line in self.lines:
            if line.amount > 0 and line.pool in self.pools and self.pools[line.pool].was_taken_back:
                if line.discount or line.promotional or not self.account.is_plain:
                    raise OpenQuestion("what was taken back is charged again")

    def usable(self, kind):
        found = [grant for grant in self.account.grants if grant.kind == kind and self.is_usable(grant)]
        return sorted(found, key=lambda grant: grant.order)

    def is_usable(self, grant):
        return not grant.is_void and grant.expires > self.now and self.available[grant] > 0

    # 5. Tax

    def tax(self):
        contained = sum(self.account.taxes.values(), ZERO) if self.account.inclusive else ZERO
        for line in self.lines:
            if not line.takes_back:
                for rate, percent in self.account.taxes.items():
                    line.taxes[rate] = self.account.rounded(line.net * percent / (100 + contained))
        for n in {line.period for line in self.lines if line.takes_back and line.is_of_usage}:
            self.check_tax_left(n)

    def check_tax_left(self, n):
        pools = self.arrears_pools(n)
        lines = [line for line in self.lines if line.period == n and line.is_of_usage]
        net = sum((pool.net for pool in pools), ZERO) + sum((line.net for line in lines), ZERO)
        tax = sum((sum(pool.taxes.values(), ZERO) for pool in pools), ZERO) + sum((line.tax for line in lines), ZERO)
        if net < 0:
            raise OpenQuestion("a period comes to less than nothing")
        if not net and tax:
            self.clear_tax(pools, lines)

    def clear_tax(self, pools, lines):
        """What rounding leaves of the tax of a period that comes to nothing is on the line that takes back most."""
        back = sorted((line.amount, line.net, index) for index, line in enumerate(lines) if line.takes_back)
        if min(back, key=lambda item: item[1]) != back[0] or [item[0] for item in back[:2]] == [back[0][0]] * 2:
            raise OpenQuestion("which line takes back most")
        taxes = lines[back[0][2]].taxes
        for rate in self.account.taxes:
            taxes[rate] = taxes.get(rate, ZERO) - sum((part.taxes.get(rate, ZERO) for part in [*pools, *lines]), ZERO)

    # 6. Prepaid credit

    def pay(self, total):
        usable, paid, found = self.usable("prepaid"), ZERO, {}
        held = sum((self.available[grant] for grant in usable), ZERO)
        if len(usable) > 1 and any(grant.priority is None for grant in usable) and ZERO < total < held:
            raise OpenQuestion("the priority of a credit note's credit")
        if len({grant.order for grant in usable}) < len(usable) and ZERO < total < held:
            raise OpenQuestion("which of two credits of one instant has the lower id")
        for grant in usable:
            used = min(self.available[grant], total - paid)
            if used:
                found[grant] = used
                paid += used
        return found
