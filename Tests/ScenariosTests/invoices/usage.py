"""Usage in the story of a tenant: in time, late and voided."""

from datetime import timedelta
from fractions import Fraction

import costs
from catalogue import METERS, USED
from expectations import decimal, text
from ledger import Event

OLDEST = timedelta(days=34)


class Usage:
    """What the tenant uses, and what is corrected of it."""

    def use(self):
        """Also where no subscription covers it."""
        low = self.account.starts if self.stop == 0 else self.stops[self.stop - 1]
        low = max(low, self.now - OLDEST)
        if self.now - low > timedelta(hours=1):
            self.send([self.event(low, self.now) for _ in range(self.rng.randint(1, 6))])

    def event(self, low, high):
        feature = self.rng.choice(USED)
        seconds = self.rng.randrange(1, int((high - low).total_seconds()) - 1)
        units, money = Fraction(self.rng.randint(1, 90000), 1000), Fraction(self.rng.randint(1, 99999), 100)
        value = {"payments": money, "calls": None, "seats": f"s{self.rng.randint(1, 25)}"}.get(feature, units)
        event = Event(self.name("e"), feature, low + timedelta(seconds=seconds), value)
        if feature == "cells":
            labels = {"zone": self.rng.choice(["eu", "us", "jp", ""]), "size": self.rng.choice(["s", "l", ""])}
            event.labels = {name: label for name, label in labels.items() if label}
        elif feature == "pages":
            provider, model, name = self.rng.choice(costs.CALLS)
            event.labels, event.value = {"provider": provider, "model": model}, Fraction(self.rng.randint(1, 120))
            event.cost = costs.cost(name, event.value, event.time, self.tenant.currency)
        return event

    def send(self, events):
        body = [{"id": event.id, "source": "gw", "type": METERS[event.feature]["event_type"], "subject": self.key,
                 "time": text(event.time), "data": event_data(event)} for event in events]
        self.tenant.events += events
        self.touch(events)
        unsubscribed = sum(not self.tenant.covers(event.time) for event in events)
        self.ask("POST", "/events", body,
                 expect={"/accepted": len(events), "/unsubscribed": unsubscribed, "/unpriced": 0})

    def touch(self, events):
        for account in self.tenant.accounts:
            for event in events:
                account.touch(event.time)

    def correct_usage(self):
        if self.chance("late", 0.35) or (self.account.void and self.rng.random() < 0.5):
            self.send_late()
        if self.chance("late", 0.3):
            self.void_event()
        if self.account.next_period and "late" in self.focus and self.rng.random() < 0.07:
            self.void_period()

    def send_late(self):
        """Usage of a period that is over: the last, or that of a void invoice."""
        if self.account.next_period == 0:
            return
        late = self.rng.choice([self.account.next_period - 1, *(invoice.period for invoice in self.account.void)])
        low, high = max(self.account.period(late)[0], self.now - OLDEST), self.account.period_end(late)
        if high - low > timedelta(hours=1):
            self.send([self.event(low, high) for _ in range(self.rng.randint(1, 2))])

    def void_event(self):
        """Where late usage is looked at, rather of a period that is invoiced."""
        account = self.account
        candidates = [event for event in account.events if not event.is_void]
        if self.account.next_period and "late" in self.focus and self.rng.random() < 0.7:
            start, end = account.anchor, account.period_end(self.account.next_period - 1)
            candidates = [event for event in candidates if start <= event.time < end]
        if candidates:
            self.void_events([self.rng.choice(candidates)])

    def void_period(self):
        """All usage of an invoiced period, so that it may come to nothing."""
        start, end = self.account.period(self.rng.randrange(self.account.next_period))
        events = [event for event in self.account.events if not event.is_void and start <= event.time < end]
        if len(events) < 20:
            self.void_events(events)

    def void_events(self, events):
        for event in events:
            event.is_void = True
            self.touch([event])
            self.ask("POST", "/events/void", {"source": "gw", "id": event.id, "tenant": self.key, "reason": "test"},
                     expect={"/status": "voided"})


def event_data(event):
    if event.feature == "calls":
        return {}
    value = event.value if event.feature == "seats" else decimal(event.value)
    return {METERS[event.feature]["value"]: value, **event.labels}
