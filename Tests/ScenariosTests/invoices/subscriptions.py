"""Subscriptions in the story of a tenant: how they begin, change and end, and those that follow them."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from catalogue import overridden
from expectations import text
from ledger import FAR, Account
from prices import months_after

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Asia/Kuwait", "America/Santiago"]


class Subscriptions:
    """What the tenant is subscribed to, one subscription after the other. `account` is the last one here."""

    def subscribe(self, starts, plan, number, may_try=True):
        body, version = self.version_of(plan, number)
        self.account, trial_ends = Account(self.tenant, starts, (plan, number), version), None
        body |= {"tenant": self.key, "starts_at": text(starts)}
        if may_try and self.chance("trials", 0.5):
            body["trial_days"] = self.rng.randint(3, 20)
            self.account.begin_with_trial(body["trial_days"])
            trial_ends = text(self.account.anchor)
        expect = {"/starts_at": body["starts_at"], "/anchor": text(self.account.anchor), "/trial_ends_at": trial_ends,
                  "/timezone": self.account.zone.key}
        self.ask("POST", "/subscriptions", body, 201, {self.account.name: "/id"}, expect)

    def version_of(self, plan, number):
        """What a body says of it, and what it comes to. The latest need not be named."""
        published = self.catalogue.published(plan, self.stop)
        version, body = published[number], {"plan": plan, "version": number}
        if number == len(published) and self.rng.random() < 0.5:
            del body["version"]
        if not self.chance("overrides", 0.4):
            return body, version
        overrides = self.catalogue.overrides(plan, version, self.rng)
        return body | {"overrides": overrides}, overridden(version, overrides)

    def start_again(self):
        """Right after the end, or later; also while that is still to come, or at a time that is over."""
        ended = self.account
        if ended.end == FAR or len(self.tenant.accounts) > 2 or not self.chance("again", 0.5):
            return
        choices = [ended.end, max(self.now, ended.end), ended.end + timedelta(seconds=self.rng.randrange(1, 900000))]
        plan = self.rng.choice([ended.segments[-1].plan[0], *self.catalogue.of(ended.currency)])
        numbers = [*self.catalogue.published(plan, self.stop)]
        if self.rng.random() < 0.2:
            self.move_house()
        exact = [*self.starts_of_whole_months(ended), *[self.now] * (ended.end <= self.now)]
        is_exact = bool(exact) and self.rng.random() < 0.4
        self.subscribe(self.rng.choice(exact if is_exact else choices), plan,
                       self.rng.choice([*numbers, numbers[-1]]), not is_exact)
        if self.rng.random() < 0.5:
            self.refuse_overlap(ended)
        self.settle()

    def move_house(self):
        """To another time zone, in which the periods of later subscriptions begin."""
        zone = self.rng.choice(ZONES)
        self.tenant.zone = ZoneInfo(zone)
        self.ask("PATCH", f"/tenants/{self.key}", {"timezone": zone}, expect={"/timezone": zone})

    def refuse_overlap(self, ended):
        """The one before neither goes on nor ends later, and no other covers part of the same time."""
        code = "subscription_ended" if ended.end <= self.now else "subscription_overlaps"
        path, later = f"/subscriptions/${{{ended.name}}}", max(self.now, self.account.starts) + timedelta(days=1)
        self.ask("POST", f"{path}/resume", None, 409, expect={"/code": code})
        self.ask("POST", f"{path}/cancel", {"at": text(later)}, 409, expect={"/code": code})
        if ended.starts < ended.end:
            body = {"tenant": self.key, "plan": self.account.segments[0].plan[0], "starts_at": text(ended.starts)}
            self.ask("POST", "/subscriptions", body, 409, expect={"/code": "subscription_overlaps"})

    def starts_of_whole_months(self, ended):
        """After the end, and a month before a stop."""
        zone, latest = self.tenant.zone, self.now + timedelta(days=9)
        found = [(months_after(stop, -1, zone), stop) for stop in self.stops[self.stop + 1:]]
        return [start for start, stop in found
                if ended.end <= start < latest and months_after(start, 1, zone) == stop]

    def end_between(self):
        """At the very moment at which the first period begins, or the next one, when its fees in advance are charged
        already: an adjustment gives them back."""
        for account in self.tenant.accounts[-1:]:
            if len(account.drafts) != 1 or account.end < FAR or self.tenant.drafts != account.drafts:
                return
            drafted, kind, n = draft = account.drafts[0]
            starts = account.anchor if kind == "opening" else account.period(n)[1]
            if starts != self.now or self.has_change_to_come() or self.rng.random() < 0.3:
                return
            if self.rng.random() < 0.8:
                self.finalize(account, draft, self.name_draft(account, draft))
            account.end = self.now
            self.ask_subscription("cancel", {"at": "now"}, **{"/ends_at": text(self.now)})
            self.settle()

    def move(self):
        account = self.account
        if account.end <= self.now or account.starts > self.now:
            return
        if account.end < FAR:
            if self.chance("cancel", 0.25):
                self.resume()
        elif self.now < account.anchor:
            if self.chance("cancel", 0.04):
                self.cancel((account.starts, account.anchor))
        else:
            self.move_within(account.period(account.period_of(self.now)))

    def move_within(self, period):
        if self.has_change_to_come() and self.chance("changes", 0.25):
            self.withdraw()
        elif self.chance("changes", 0.15):
            self.change_plan(period)
        elif not self.has_change_to_come() and (self.chance("cancel", 0.08) or self.chance("again", 0.08)):
            self.cancel(period)

    def has_change_to_come(self):
        return self.account.segments[-1].start > self.now

    def ask_subscription(self, operation, body=None, **expect):
        self.account.last_change = self.now
        self.ask("POST", f"/subscriptions/${{{self.account.name}}}/{operation}", body, expect=expect)

    def change_plan(self, period):
        """To a version that neither this period nor the next has, so that its lines can be told apart."""
        account, n = self.account, self.account.period_of(self.now)
        used = {segment.plan for period in (n, n + 1) for _, segment, *_ in account.parts(period)}
        plans = [(plan, number) for plan in self.catalogue.of(account.currency)
                 for number in self.catalogue.published(plan, self.stop) if (plan, number) not in used]
        newer = [plan for plan in plans if plan[0] == account.segments[-1].plan[0]]
        if not plans:
            return
        plan, how = self.rng.choice([*plans, *newer * 3]), self.rng.choice(["now", "later", "period_end"])
        at = self.time_of(how, period)
        body, version = self.version_of(*plan)
        account.change(at, plan, version)
        rows = [{"match": {"/plan": plan[0], "/version": plan[1], "/starts_at": text(at)}, "expect": {}}]
        self.ask_subscription("change", body | {"at": text(at) if how == "later" else how},
                              **{"/segments": {"rows": rows}})

    def time_of(self, how, period):
        later = self.now + timedelta(seconds=self.rng.randrange(1, int((period[1] - self.now).total_seconds())))
        return {"now": self.now, "period_end": period[1], "later": later}[how]

    def withdraw(self):
        self.account.withdraw(self.now + timedelta(microseconds=1))
        rows = [{"match": {"/plan": segment.plan[0], "/version": segment.plan[1]}, "expect": {}}
                for segment in self.account.segments]
        self.ask_subscription("withdraw-changes", **{"/segments": {"rows": rows, "extra": "none"}})

    def cancel(self, period):
        how = self.rng.choice(["now", "later", "period_end", "period_end"])
        self.account.end = at = self.time_of(how, period)
        self.ask_subscription("cancel", {"at": text(at) if how == "later" else how}, **{"/ends_at": text(at)})
        if how == "now":
            self.settle()

    def resume(self):
        self.account.end = FAR
        self.ask_subscription("resume", **{"/ends_at": None})
