"""Which calls a budget's scope is of."""

import json

DIMENSIONS = ["provider", "user", "feature", "model", "cost_center", "client", "plan"]


def place(scope, call):
    """The scope with the call's values in place of `*`; None where the call is not within it."""
    found = {}
    for name, pattern in scope.items():
        value = call.values.get(name)
        if name == "feature":
            value = pattern if pattern in call.features else None
        is_prefix = name == "model" and pattern.endswith("*") and (value or "").startswith(pattern[:-1])
        if value is None or not (pattern in ("*", value) or is_prefix):
            return None
        found[name] = value if pattern == "*" else pattern
    return found


def value(scope, place):
    """Which of its values a row counts, as alerts name it: those in place of `*`, but for the tenant."""
    found = [place[name] for name in DIMENSIONS if scope.get(name) == "*"]
    return json.dumps(found, separators=(",", ":")) if len(found) > 1 else found[0] if found else None


def is_within(narrow, scope):
    """Whether a scope is another one with values in place of `*`, or the same."""
    return all(value in ("*", narrow.get(name)) for name, value in scope.items())
