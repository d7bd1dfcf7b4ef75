"""What must be answered of the state of limits, and of a call that asks."""

from fractions import Fraction

import scopes
from arrange import Arrangement
from records import MICROSECOND, number, text

REASONS = {"quota": "quota_exceeded", "budget": "budget_exceeded", "spend_cap": "spend_cap_exceeded"}


class Answers(Arrangement):
    """Says what is expected, and draws nothing."""

    def visible(self, limit):
        """The rows of the present windows."""
        if "*" not in limit.scope.values():
            tenant = self.world.tenants[limit.scope.get("tenant", "acme")]
            return [self.world.peek(limit, limit.scope, self.world.window(limit, tenant, self.world.now))]
        tenants = self.world.tenants
        return [row for row in limit.rows.values()
                if row.window == self.world.window(limit, tenants[row.scope.get("tenant", "acme")], self.world.now)]

    def is_told(self, row, limit):
        is_zero = not (row.used or row.overshoot or self.world.held(limit, row))
        return "*" not in limit.scope.values() or not is_zero

    def state(self, limit, row):
        held = self.world.held(limit, row)
        return {"/used": number(row.used), "/held": number(held), "/overshoot": number(row.overshoot),
                "/remaining": number(max(Fraction(0), limit.amount - row.used - held))}

    def progress(self, limit, row):
        since = max(row.window[0] or limit.created, limit.created)
        expect = {"/percent": number(row.used * 100 / limit.amount) if limit.amount else None, "/projected": None,
                  "/counted_since": text(since)}
        if limit.kind == "lifetime":
            return expect
        passed, whole = self.world.now - since, row.window[1] - since
        if passed * 100 < whole:
            return expect
        return expect | {"/projected": number(row.used * (whole // MICROSECOND) / (passed // MICROSECOND))}

    def show(self, limit):
        if limit.origin == "budget" and limit.archived:
            return self.step("GET", f"/budgets/{limit.key}/status", expect={"/data": []})
        if limit.origin == "quota":
            return self.show_quota(limit)
        if limit.origin == "spend_cap":
            expect = self.state(limit, self.visible(limit)[0])
            return self.step("GET", f"/tenants/{limit.tenant.key}/spend-cap", expect=expect)
        rows = [{"match": {"/scope": row.scope},
                 "expect": self.state(limit, row) | self.progress(limit, row)}
                for row in self.visible(limit) if self.is_told(row, limit)]
        self.step("GET", f"/budgets/{limit.key}", expect={
            "/amount": number(limit.amount), "/mode": limit.mode,
            "/status/windows": {"rows": rows, "extra": "zero"}})

    def fingerprint(self, limit):
        return [(str(row.scope), limit.amount, row.used, row.overshoot, self.world.held(limit, row))
                for row in self.visible(limit)]

    def quotas_in_force(self):
        return [one for one in self.world.limits if one.origin == "quota" and not one.is_out]

    def show_quota(self, limit):
        """All that are in force are there, and no other ones."""
        expect = {"/limit": number(limit.amount), "/mode": limit.mode,
                  "/overage": "allowed" if limit.lets_pass else "denied", **self.state(limit, self.visible(limit)[0])}
        quotas = [one for one in self.quotas_in_force() if one.tenant is limit.tenant]
        rows = [{"match": {"/feature": quota.key, "/window/kind": quota.kind},
                 "expect": expect if quota is limit else {}} for quota in quotas]
        self.step("GET", f"/tenants/{limit.tenant.key}/quotas", expect={"/data": {"rows": rows, "extra": "none"}})

    def show_rate(self, rate):
        """A row that is full may be there or not, where there is but one."""
        rows = [{"match": {"/scope": scope}, "expect": {"/remaining": left, "/full_at": text(full_at)}}
                for scope, left, full_at in rate.rows(self.world.now)]
        expect = {"/amount": None, "/window": None, "/mode": None, "/rate/limit": rate.limit, "/status/windows": []}
        if rows or "*" in rate.scope.values():
            expect["/status/rates"] = {"rows": rows, "extra": "none"}
        if rate.archived:
            return self.step("GET", f"/budgets/{rate.key}/status", expect={"/data": []})
        self.step("GET", f"/budgets/{rate.key}", expect=expect)

    def rate_named(self, rate):
        return {"match": {"/key": rate.key, "/origin": "budget", "/measure": rate.measure},
                "expect": {"/window": None, "/limit": None, "/rate/limit": rate.limit, "/rate/burst": rate.burst}}

    def rate_refusal(self, call, refusing):
        """What a call is told that nothing but rates refuses."""
        waits = [rate.wait(call, place, self.world.now) for rate, place in refusing]
        return {"/allowed": False, "/reservation": None, "/reason": "rate_limited",
                "/retry_after": None if None in waits else max(waits),
                "/limits": {"rows": [self.rate_named(rate) for rate, _ in refusing], "extra": "none"}}

    def named(self, limit):
        return {"/key": limit.key, "/origin": limit.origin, "/measure": limit.measure, "/window/kind": limit.kind}

    def refusal(self, call, refusing, limiting):
        """Of what limits and rates refuse together only that it is refused, and why of what fewer tokens leave refused:
        some of what refuses all of them may have room for these."""
        if refusing and limiting:
            return {"/allowed": False, "/reservation": None}
        expect = self.rate_refusal(call, limiting) if limiting else self.limit_refusal(refusing)
        told = ("/allowed", "/reservation", "/reason")
        return {name: value for name, value in expect.items() if name in told} if call.min_output else expect

    def limit_refusal(self, refusing):
        origins = {claim.limit.origin for claim in refusing}
        rows = [{"match": self.named(claim.limit), "expect": {"/mode": "hard"}} for claim in refusing]
        expect = {"/allowed": False, "/reservation": None, "/limits": {"rows": rows, "extra": "none"}}
        if len(origins) == 1:
            expect["/reason"] = REASONS[origins.pop()]
        return expect | self.when_again(refusing)

    def when_again(self, refusing):
        """When the last window ends; never for a call that alone is too large. Only where no later window refuses."""
        now = self.world.now
        if any(claim.limit.is_wide or claim.limit.kind == "lifetime" for claim in refusing):
            return {}
        if any(claim.window[0] > now for claim in refusing):
            return {}
        if any(claim.amount > claim.limit.amount for claim in refusing):
            return {"/retry_after": None}
        return {"/retry_after": int(max(claim.window[1] - now for claim in refusing).total_seconds())}

    def consent(self, call, claims, softly):
        """Limits are compared with their numbers where the call holds in one window of each."""
        rows = []
        for limit in dict.fromkeys(claim.limit for claim in claims):
            own = [claim for claim in claims if claim.limit is limit]
            expect = {"/mode": limit.mode}
            if len(own) == 1:
                row = self.world.peek(limit, own[0].place, own[0].window)
                is_held = any(reservation.call is call for reservation in row.holds)
                held = self.world.held(limit, row, None if is_held else own[0].amount)
                expect |= {"/used": number(row.used), "/held": number(held),
                           "/remaining": number(max(Fraction(0), limit.amount - row.used - held))}
            rows.append({"match": self.named(limit), "expect": expect})
        rows += [self.rate_named(rate) for rate, _ in self.world.rates.concerning(call)]
        expect = {"/allowed": True, "/reason": None, "/retry_after": None, "/limits": {"rows": rows, "extra": "none"},
                  "/max_output_tokens": call.max_output}
        return expect | {"/warnings": {"set": ["soft_limit_exceeded"] if softly else []}}

    def warned(self, call):
        """What the same call again is warned by: the limits that it would touch now, as they stand."""
        now, found = self.world.now, []
        for limit, place in self.world.concerning(call):
            if limit.lets_pass and not self.world.is_replaced(limit, call):
                rows = [self.world.peek(limit, place, window)
                        for window in self.world.windows(limit, call.tenant, now, self.end(call))]
                found += [row for row in rows if row.used + self.world.held(limit, row) > limit.amount]
        return ["soft_limit_exceeded"] if found else []

    def show_alerts(self, since):
        """There are no others where of none it is open whether they are told."""
        rows = [self.told(alert) for alert in self.world.alerts if alert.raised >= since]
        is_certain = all(row.alerted is not None or not limit.thresholds for limit in self.world.limits
                         for row in limit.rows.values())
        self.step("GET", f"/alerts?kind=threshold_crossed&limit=500&from={text(since)}", expect={
            "/data": {"rows": rows} | ({"extra": "none"} if is_certain else {})})

    def told(self, alert):
        limit, row, window = alert.limit, alert.row, alert.row.window
        match = {"/detail/limit": limit.key, "/detail/origin": limit.origin, "/threshold": str(alert.threshold),
                 "/tenant": row.scope.get("tenant"), "/scope_value": scopes.value(limit.scope, row.scope),
                 "/window": window[0] and {"start": text(window[0]), "end": text(window[1])},
                 "/detail/amount": number(alert.amount), "/detail/mode": alert.mode}
        return {"match": match, "expect": {"/raised_at": text(alert.raised), "/detail/measure": limit.measure}}
