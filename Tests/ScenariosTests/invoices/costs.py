"""What providers charge the operator for an event, in the currency of its tenant."""

from datetime import datetime, timezone
from fractions import Fraction

from expectations import request, text
from prices import rounded

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
BOOK = [
    ("ai", "scan", "pages", "0.0123", START),
    ("ai", "scan", "pages", "0.0171", datetime(2026, 12, 3, 5, tzinfo=timezone.utc)),
    ("ai", "sc*", "pages", "0.9", START),
    ("ai", "scan*", "pages", "0.0205", START),
    ("*", "ocr", "request", "0.352", START),
]
RATES = {
    "JPY": [("151.37", START), ("148.2", datetime(2026, 12, 20, tzinfo=timezone.utc))],
    "KWD": [("0.30713", START)],
}
CALLS = [("ai", "scan", "scan"), ("ai", "scan-pro", "scan*"), ("x", "ocr", "ocr")]
"""Provider, model, and the entry of the book that is its own, or else the longest pattern."""


def in_force(entries, time):
    return Fraction([amount for amount, since in entries if since <= time][-1])


def cost(name, pages, time, currency):
    entries = [entry for entry in BOOK if entry[1] == name]
    amount = in_force([entry[3:] for entry in entries], time) * (1 if entries[0][2] == "request" else pages)
    return rounded(amount * in_force(RATES[currency], time), 12) if currency in RATES else amount


def steps():
    for provider, model, unit, amount, since in BOOK:
        yield request("POST", "/price-book", {"provider": provider, "model": model, "unit": unit, "unit_amount": amount,
                                              "effective_from": text(since)}, 201)
    for currency, rates in RATES.items():
        for rate, since in rates:
            yield request("POST", "/fx-rates", {"from": "USD", "to": currency, "rate": rate,
                                                "effective_from": text(since)}, 201)
