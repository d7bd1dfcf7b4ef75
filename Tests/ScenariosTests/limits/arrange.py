"""What a story begins with: a catalogue, plans, tenants, a price book and budgets, drawn and sent to the service."""

import json
import random
from datetime import datetime, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

from costs import Price
from plans import Segment, Tenant
from rates import Rate
from records import BIG_MODEL, FEATURES, START, Limit, text
from world import World

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]
RISING_PRICES = [
    {"model": "per_unit", "unit_amount": "1.5"},
    {"model": "graduated", "tiers": [{"up_to": "10", "unit_amount": "0"}, {"up_to": None, "unit_amount": "2"}]},
    {"model": "graduated", "tiers": [{"up_to": "5", "unit_amount": "0"}, {"up_to": "20", "unit_amount": "0.5"},
                                     {"up_to": None, "unit_amount": "1.25"}]},
]
OTHER_PRICES = [
    {"model": "graduated", "tiers": [{"up_to": "12", "unit_amount": "2"}, {"up_to": None, "unit_amount": "0.5"}]},
    {"model": "graduated", "tiers": [{"up_to": "10", "unit_amount": "1"},
                                     {"up_to": None, "unit_amount": "0.75", "flat_amount": "3"}]},
    {"model": "package", "amount": "4", "package_size": "10", "free_units": "5"},
]
KINDS = {"models": 0.5, "fewer tokens": 0.6, "rates": 0.35, "changes": 0.35, "scheduled changes": 0.3,
         "open calls": 0.3, "narrow": 0.5, "new prices": 0.6}
UNIT_PRICES = ["0", "0.1", "0.25"]
TOKEN_PRICES = {"input": ["0.002", "0.005", "0.01"], "cached_input": ["0.001", "0.0025"],
                "output": ["0.004", "0.01", "0.02"]}
MODEL_FEATURES = {"tokens": "tokens", "llm": "jobs"}
WINDOWS = ["minute", "hour", "day", "day", "week", "month", "lifetime"]
SCOPES = [{}, {"tenant": "acme"}, {"tenant": "*"}, {"tenant": "acme", "user": "*"}, {"tenant": "*", "user": "*"},
          {"user": "ann"}, {"tenant": "beta", "user": "ben"}, {"tenant": "*", "model": "m-*"}, {"model": "*"},
          {"tenant": "acme", "cost_center": "*"}, {"tenant": "*", "user": "*", "cost_center": "*"},
          {"tenant": "*", "plan": "pro", "user": "*"}, {"tenant": "*", "model": "m-small"}]
NARROW_SCOPES = [{}, {"tenant": "*", "user": "*"}, {"tenant": "acme", "user": "*"}, {"tenant": "*", "model": "m-*"},
                 {"tenant": "*", "feature": "jobs"}, {"tenant": "acme", "cost_center": "cc-1"}]
RATE_SCOPES = [{}, {"tenant": "acme"}, {"tenant": "*"}, {"tenant": "*", "user": "*"}, {"model": "m-*"}, {"user": "ann"},
               {"tenant": "*", "plan": "pro", "user": "*"}]
RATES = [(6, "minute"), (30, "minute"), (36, "hour"), (60, "hour"), (96, "day")]
TOKEN_RATES = [(600, "minute"), (3600, "hour")]
PERCENTS = {1: (80, 95), 5: (60, 80), 10: (50, 90), 20: (80, 95), 400: (80, 95), 1000: (50, 100)}
COST_SCOPES = [{}, {}, {"provider": "openai"}, {"provider": "*"}, {"model": "m-*"}, {"tenant": "*"}, {"tenant": "acme"},
               {"tenant": "*", "user": "*"}, {"tenant": "*", "model": "*"}, {"user": "ann", "provider": "openai"}]
PRICE_STARTS = [datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 11, 23, 11, 30, tzinfo=timezone.utc),
                datetime(2026, 11, 24, tzinfo=timezone.utc), datetime(2026, 11, 30, 23, 45, tzinfo=timezone.utc)]
PRICED = [("openai", BIG_MODEL, 0), ("openai", BIG_MODEL, 300), ("openai", "m-*", 0), ("*", "x-*", 0)]
ROOM = {"minute": 1, "hour": 1.5, "day": 2, "week": 3, "month": 4, "billing_period": 4, "lifetime": 6}


class Arrangement:
    """The world of a story, and how it came about. `kinds` are those of limits and changes that the story has: of
    changes of plans with `open calls` under no limit that is on a plan, and none that follows tiers where it is
    `narrow`. Before the next step of these and of `new prices` open calls hold by them."""

    def __init__(self, seed):
        self.random, self.world, self.serial, self.budgets = random.Random(seed), World(), 0, 0
        self.calls = []
        self.is_rising = self.random.random() < 0.6
        self.kinds = {kind for kind, likely in KINDS.items() if self.random.random() < likely}
        self.world.is_rising = self.is_rising or "open calls" in self.kinds
        if "open calls" in self.kinds:
            self.is_rising, self.kinds = True, self.kinds - {"changes"}

    def step(self, method, path, body=None, status=200, expect=None, save=None):
        line = {"method": method, "path": path, "body": body, "status": status, "save": save, "expect": expect}
        print(json.dumps({name: value for name, value in line.items() if value is not None}))

    @property
    def has_models(self):
        """Whether all calls are of models, by provider, with tokens and a provider cost."""
        return "models" in self.kinds

    @property
    def features(self):
        """Those that count different things by different calls."""
        return [*FEATURES, "tokens"] if self.has_models else [*FEATURES]

    def arrange(self):
        self.arrange_meters()
        for feature, meter in {**FEATURES, **(MODEL_FEATURES if self.has_models else {})}.items():
            filters = [{"dimension": "model", "in": [BIG_MODEL]}] if feature == "big" else []
            self.step("POST", "/features", {"key": feature, "meter": meter, "filters": filters}, 201)
        if self.has_models:
            self.arrange_price_book()
        self.plans = {plan: self.arrange_plan(plan) for plan in ("pro", "max")}
        for key in ("acme", "beta", "gamma"):
            self.arrange_tenant(key, self.random.choice(["pro", "max"]))
        for _ in range(self.random.randint(5, 8)):
            self.make_budget()
        if self.kinds >= {"models", "fewer tokens"}:
            self.make_token_budget()
        for _ in range(self.random.randint(2, 4) if "rates" in self.kinds else 0):
            self.make_rate()

    def arrange_meters(self):
        dimensions = {"dimensions": {"model": "model"}}
        meters = [{"key": "seconds", "aggregation": "sum", "value": "seconds", **dimensions},
                  {"key": "jobs", "aggregation": "count"}]
        if self.has_models:
            classes = {"uncached_input": "uncached_input_tokens", "cached_input": "cached_input_tokens",
                       "cache_write": "cache_write_tokens", "output": "output_tokens"}
            meters.append({"key": "tokens", "aggregation": "sum", "value": classes, "class_dimension": "token_class"})
        for meter in meters:
            self.step("POST", "/meters", {"event_type": "llm.call" if self.has_models else "job.done", **meter}, 201)

    def arrange_price_book(self):
        """All models have prices from the beginning, and some others to come. A model's own may begin later than those
        of its pattern."""
        starts = PRICE_STARTS[:1] + self.random.sample(PRICE_STARTS[1:], 2)
        prices = [(*key, start) for key in PRICED for start in starts[:1] + self.random.sample(starts[1:], 1)]
        prices.append(("openai", "m-small", 0, self.random.choice(PRICE_STARTS)))
        for provider, model, above, start in prices:
            amounts = {name: self.random.choice(pool) for name, pool in TOKEN_PRICES.items()}
            self.world.price_book.prices.append(Price(provider, model, start, amounts, above))
            self.send_price(self.world.price_book.prices[-1])

    def send_price(self, price):
        for name, amount in price.amounts.items():
            body = {"provider": price.provider, "model": price.model, "token_class": name, "unit_amount": amount,
                    "effective_from": text(price.start)}
            self.step("POST", "/price-book", body | ({"above_input_tokens": price.above} if price.above else {}), 201)

    def arrange_plan(self, plan):
        pool = RISING_PRICES if self.is_rising else RISING_PRICES + OTHER_PRICES
        prices = {"seconds": self.random.choice(pool)}
        for feature in ("jobs", "big"):
            prices[feature] = {"model": "per_unit", "unit_amount": self.random.choice(UNIT_PRICES)}
        if self.has_models:
            prices["tokens"] = {"model": "per_unit", "unit_amount": self.random.choice(["0", "0.001"])}
            prices["llm"] = {"model": "cost_plus", "markup_percent": self.random.choice(["0", "20", "50"])}
        windows = self.random.sample(["hour", "day", "month", "billing_period"], 2)
        quotas = [{"feature": "seconds", "limit": self.amount("units", windows[0], 2), "window": windows[0],
                   "mode": "hard"},
                  {"feature": self.random.choice(list(FEATURES)), "limit": self.amount("units", windows[1], 2),
                   "window": windows[1], **self.random.choice([{"mode": "hard"}, {"mode": "soft"},
                                                       {"mode": "hard", "overage": "allowed"}])}]
        if self.has_models:
            quotas.append({"feature": "tokens", "limit": self.amount("tokens", "day", 2), "window": "day",
                           "mode": "hard"})
        version = {"charges": [{"feature": name, "price": price} for name, price in prices.items()], "quotas": quotas}
        if self.kinds >= {"open calls", "narrow"}:
            pass
        elif plan == "pro" or self.kinds & {"changes", "scheduled changes", "open calls"} or self.random.random() < 0.5:
            version["spend_cap"] = {"amount": self.amount("charge", "month", 2), "mode": "hard"}
        self.step("POST", "/plans", {"key": plan, "name": plan, "currency": "USD"}, 201)
        self.step("POST", f"/plans/{plan}/versions", version, 201, save={f"version-{plan}": "/version"})
        self.step("POST", f"/plans/{plan}/versions/${{version-{plan}}}/publish")
        return prices, quotas, version.get("spend_cap")

    def arrange_tenant(self, key, plan):
        prices, quotas, cap = self.plans[plan]
        zone = self.random.choice(ZONES)
        local_midnight = datetime(2026, 11, 1, tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)
        anchor = self.random.choice([local_midnight, datetime(2026, 11, 1, tzinfo=timezone.utc)])
        self.step("POST", "/tenants", {"key": key, "name": key, "currency": "USD", "timezone": zone}, 201)
        self.step("POST", "/subscriptions", {"tenant": key, "plan": plan, "starts_at": text(anchor)}, 201,
                  save={f"subscription-{key}": "/id"})
        tenant = self.world.tenants[key] = Tenant(key, ZoneInfo(zone), anchor, [Segment(anchor, plan, prices)])
        for quota in quotas:
            self.world.add_quota(tenant, quota, anchor)
        if cap:
            self.world.limits.append(Limit("spend_cap", "spend_cap", "charge", {"tenant": key}, Fraction(cap["amount"]),
                                           cap["mode"], "month", START, tenant))

    def amount(self, measure, kind, wide=1):
        unit = {"requests": 1.5, "units": 4, "charge": 12 if self.has_models else 6, "cost": 6, "tokens": 700}[measure]
        return str(max(1, round(unit * ROOM[kind] * wide * self.random.uniform(0.6, 1.4))))

    def make_budget(self):
        self.budgets += 1
        costs = ["cost", "cost", "cost"] if self.has_models else []
        measure = self.random.choice(["requests", "requests", "units", "charge", *costs])
        kind = self.random.choice(WINDOWS)
        if measure == "charge":
            is_narrow = self.is_rising and (self.kinds >= {"open calls", "narrow"} or self.random.random() < 0.5)
            scope = dict(self.random.choice(NARROW_SCOPES if is_narrow else SCOPES[1:3]))
        else:
            scope = dict(self.random.choice(COST_SCOPES if measure == "cost" else SCOPES))
        if "open calls" in self.kinds:
            scope.pop("plan", None)
        if measure == "units":
            scope["feature"] = self.random.choice(self.features)
        elif measure == "requests" and self.random.random() < 0.1:
            scope["feature"] = "big"
        if "tenant" in scope and self.random.random() < 0.1:
            kind = "billing_period"
        mode = "soft" if self.random.random() < 0.3 else "hard"
        counted = "tokens" if scope.get("feature") == "tokens" else measure
        amount = Fraction(self.amount(counted, kind, 1 if set(scope) - {"tenant", "feature"} else 3))
        amount = Fraction(max(1, round(amount / 3))) if mode == "soft" else amount
        limit = Limit(f"b{self.budgets}", "budget", measure, scope, amount, mode, kind, self.world.now)
        limit.thresholds = self.random.choice([[50, 80, 100], [50, 80, 100], [30, 100, 150, 300], []])
        self.add_budget(limit)

    def make_token_budget(self):
        """Such that output tokens are what often does not fit."""
        self.budgets += 1
        scope, amount = {"tenant": "*", "feature": "tokens"}, Fraction(self.random.choice([900, 1500]))
        self.add_budget(Limit(f"b{self.budgets}", "budget", "units", scope, amount, "hard", "hour", START))

    def add_budget(self, limit):
        body = {"key": limit.key, "scope": limit.scope, "measure": limit.measure, "amount": str(limit.amount),
                "window": limit.kind, "mode": limit.mode}
        body |= {"currency": "USD"} if limit.measure in ("charge", "cost") else {}
        body |= {"overrides": limit.overrides} if limit.overrides else {}
        body |= {"thresholds": limit.thresholds} if limit.thresholds != [50, 80, 100] else {}
        self.step("POST", "/budgets", body, 201)
        self.world.limits.append(limit)

    def make_rate(self):
        self.budgets += 1
        is_of_tokens = self.has_models and self.random.random() < 0.3
        measure, burst = ("tokens", [400, 1000]) if is_of_tokens else ("requests", [1, 5, 5, 10, 20])
        limit, period = self.random.choice(TOKEN_RATES if is_of_tokens else RATES)
        self.add_rate(measure, self.random.choice(RATE_SCOPES), limit, period, self.random.choice(burst))

    def add_rate(self, measure, scope, limit, period, burst, overrides=None):
        percents = dict(zip(["sheddable", "default", "critical"], [*PERCENTS[burst], 100]))
        rate = Rate(f"b{self.budgets}", measure, scope, limit, period, burst, percents, START, overrides)
        self.step("POST", "/budgets", rate.body(), 201)
        self.world.rates.append(rate)
