"""What a story of limits is about: calls and events, reservations, limits with their rows, and alerts."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from costs import Tokens
from plans import Tenant

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
SUSPENSE = timedelta(minutes=60)
LONGEST_LIFE = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)
FEATURES = {"seconds": "seconds", "jobs": "jobs", "big": "seconds"}
BIG_MODEL = "m-large"


def text(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number(value):
    """Compared by number. Digits beyond the twelfth are cut off."""
    digits = str(int(value * 10**12)).rjust(13, "0")
    return {"number": f"{digits[:-12]}.{digits[-12:]}".rstrip("0").rstrip(".")}


def plus(hold, more, times=1):
    """Two amounts, or quantities of things, together."""
    if isinstance(hold, dict):
        return {key: hold.get(key, Fraction(0)) + times * more.get(key, Fraction(0)) for key in hold | more}
    return hold + times * more


def calendar_window(kind, zone, instant):
    """None for what has no bound. Not for the hours around a change of clocks."""
    if kind == "lifetime":
        return None, None
    first = instant.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
    first = first if kind == "minute" else first.replace(minute=0)
    first = first if kind in ("minute", "hour") else first.replace(hour=0)
    if kind == "week":
        first -= timedelta(days=first.weekday())
    if kind == "month":
        first = first.replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1)
    else:
        last = first + {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1),
                        "week": timedelta(days=7)}[kind]
    return tuple(local.replace(tzinfo=zone).astimezone(timezone.utc) for local in (first, last))


@dataclass(eq=False)
class Row:
    """`alerted` are the thresholds that have alerted, None where that can't be told, and `quiet` those that a change
    alone had met when its window was over. One that `is_behind` has not taken a change yet, because its window is over.
    One that `is_waiting` had another limit in its place until now, and tells of what is met with its next usage."""
    scope: dict
    window: tuple
    used: Fraction = Fraction(0)
    overshoot: Fraction = Fraction(0)
    holds: dict = field(default_factory=dict)
    alerted: set = field(default_factory=set)
    quiet: set = field(default_factory=set)
    is_behind: bool = False
    is_waiting: bool = False

    def goes_beyond(self, excess):
        """Notes what no admission allowed."""
        self.overshoot += max(Fraction(0), excess)

    def takes_out(self, voided):
        """Of a void: off the overshoot as much as off what is used."""
        voided = min(voided, self.used)
        self.used -= voided
        self.overshoot = max(Fraction(0), self.overshoot - voided)


@dataclass(eq=False)
class Limit:
    """A quota counts usage with a time `since` then; `is_out` while no plan has it, when it only counts on."""
    key: str
    origin: str
    measure: str
    scope: dict
    amount: Fraction
    mode: str
    kind: str
    created: datetime
    tenant: Tenant = None
    overrides: str = None
    archived: bool = False
    is_out: bool = False
    since: datetime = None
    is_own: bool = False
    overage: str = None
    thresholds: list = field(default_factory=lambda: [50, 80, 100])
    rows: dict = field(default_factory=dict)

    def counts(self, instant):
        """Whether usage of then: a budget counts from its creation on."""
        return instant >= self.created if self.origin == "budget" else self.since is None or instant >= self.since

    def is_older(self, reservation):
        """Whether a call that is open can come to hold of it: quotas that have come into force are held, too."""
        return self.origin != "budget" or reservation.created >= self.created

    @property
    def lets_pass(self):
        """Whether it refuses nothing: a soft one, and a hard quota beyond which the plan's price is charged."""
        return self.mode == "soft" or self.overage == "allowed"

    @property
    def is_wide(self):
        """On all that a tenant is charged: it follows the tenant's tiers."""
        return self.measure == "charge" and set(self.scope) == {"tenant"}


@dataclass(eq=False)
class Call:
    """A call that asks, or an event. One with tokens is of a model, which has a price. Where it asked for more than
    fits, `tokens` are those that it was left."""
    id: str
    tenant: Tenant
    seconds: Fraction
    data: dict
    tokens: Tokens = None
    ttl: int = None
    criticality: str = None
    asked: Tokens = None
    min_output: int = None
    time: datetime = None
    stored: datetime = None
    reservation: "Reservation" = None
    is_partial: bool = False
    counts: list = field(default_factory=list)
    cost: Fraction = None
    is_void: bool = False

    @property
    def values(self):
        """An event is of the plan of its time."""
        index = self.tenant.segment(self.time) if self.time else -1
        return {**self.data, "tenant": self.tenant.key, "plan": self.tenant.segments[index].plan}

    @property
    def features(self):
        """What each feature counts of it."""
        found = {"seconds": self.seconds, "jobs": Fraction(1)}
        if self.tokens:
            found |= {"tokens": self.tokens.total, "llm": Fraction(1)}
        return {**found, "big": self.seconds} if self.data.get("model") == BIG_MODEL else found

    @property
    def max_output(self):
        return self.tokens and self.tokens.output

    def charged(self, cost):
        """What the price of each feature is of: `llm` follows the provider cost."""
        return {**self.features, "llm": cost} if self.tokens else self.features

    def body(self):
        seconds = int(self.seconds) if self.seconds.denominator == 1 else float(self.seconds)
        tokens = (self.asked or self.tokens).data() if self.tokens else {}
        body = {"subject": self.tenant.key, "type": "llm.call" if self.tokens else "job.done", "source": "gw",
                "id": self.id, "data": {"seconds": seconds, **self.data, **tokens}}
        body |= {"ttl_seconds": self.ttl} if self.ttl else {}
        body |= {"min_output_tokens": self.min_output} if self.min_output else {}
        body |= {"criticality": self.criticality} if self.criticality else {}
        body |= {"time": text(self.time)} if self.time and self.time != self.stored else {}
        body |= {"reservationid": f"${{{self.reservation.name}}}"} if self.reservation else {}
        return body | ({"reservationpartial": True} if self.is_partial else {})


@dataclass(eq=False)
class Reservation:
    name: str
    call: Call
    created: datetime
    expires: datetime
    status: str = "held"
    closed: datetime = None
    has_parts: bool = False


@dataclass
class Claim:
    """What a call would hold of a limit in one window: an amount, or of a wide limit quantities."""
    limit: Limit
    place: dict
    window: tuple
    amount: object


@dataclass
class Alert:
    """That a threshold was crossed, with what the limit was then."""
    raised: datetime
    limit: Limit
    row: Row
    threshold: int
    amount: Fraction
    mode: str
