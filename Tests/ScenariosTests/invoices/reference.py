"""Prints a random story of invoices with what the service must answer, one step a line.

`reference.py SEED`: JSON Lines of requests by the operator to /api/v1 and of advances of the clock. A player sends them
to the service, whose fixed clock starts at 2026-11-23T08:00:00Z:

    {"method": "POST", "path": "/invoices/${i1}/pay", "status": 200, "expect": {"/status": "paid"},
     "save": {"x": "/id"}}    an answer's parts by JSON pointer
    {"advance": 90000}        the clock goes on by seconds; then all due drafts are made, and those whose grace of 24
                              hours is over are final. It is 0 after requests that make an invoice due at once

Expected values are equal to the answer's, but for

    {"number": "12.5"}        any spelling of the number
    {"rows": [{"match": {pointer: value}, "expect": {pointer: value}}], "extra": "none"}
                              an array: each element that fits a `match` is as expected, and one at least is there.
                              Elements that fit no `match` may not be (`none`), have zero in /amount (`zero_amount`), or
                              are not looked at (no `extra`)

`"${name}"` is replaced by what was saved. Beside a pointer, `save` may say {"in": pointer, "match": {...}, "get":
pointer}: of the first element of an array that fits. In a body `"${name:bare}"` is replaced with its quotes, so that a
number stays one.
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone

from catalogue import Catalogue
from prices import OpenQuestion
from teller import Teller

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
HORIZON = datetime(2027, 2, 6, tzinfo=timezone.utc)
EXTRAS = ["discounts", "credits", "taxes", "commitment", "included", "changes", "cancel", "late", "notes", "voids",
          "trials", "overrides", "rates", "again"]
FOCUS = [("credits", "late", "notes"), ("credits", "late", "notes", "taxes", "included"),
         ("discounts", "changes", "late", "taxes"), ("included", "late", "taxes", "rates"),
         ("voids", "late", "discounts", "taxes"), ("credits", "commitment", "included", "late", "changes"),
         ("credits", "discounts", "late", "taxes", "rates"), ("cancel", "late", "notes", "taxes", "credits"),
         ("again", "late", "credits", "discounts"), ("again", "late", "notes", "taxes", "commitment", "included"),
         ("rates", "late", "notes", "taxes"), ("again", "late", "voids", "credits", "discounts", "taxes"),
         ("rates", "late", "voids", "taxes", "credits", "included")]
ATTEMPTS = 400


def random_stops(rng):
    """More than a day apart, so that what is drafted at one is final at the next."""
    stops = [START]
    while stops[-1] < HORIZON:
        stops.append(stops[-1] + timedelta(seconds=rng.randint(25 * 3600, 80 * 3600)))
    return stops


def tell_tenant(seed, *arguments):
    """The first attempt that meets no question that the rules leave open."""
    for attempt in range(ATTEMPTS):
        try:
            return Teller(f"{seed} {attempt}", *arguments).tell()
        except OpenQuestion:
            continue
    raise RuntimeError(f"every attempt of {seed} met an open question")


def story(seed):
    rng = random.Random(seed)
    focus = rng.choice(FOCUS) if rng.random() < 0.6 else ()
    extras = [extra for extra in EXTRAS if extra in focus or rng.random() < 0.45]
    stops = random_stops(rng)
    catalogue = Catalogue(rng, extras, len(stops))
    tenants = [tell_tenant(f"{seed} {key}", key, extras, focus, catalogue, stops)
               for key in ("acme", "beta", "gamma")[:rng.randint(2, 3)]]
    yield from catalogue.steps()
    for index, stop in enumerate(stops):
        if index:
            yield {"advance": int((stop - stops[index - 1]).total_seconds())}
        yield from catalogue.steps_at(index)
        for steps in tenants:
            yield from steps[index]
        if index == 0:
            yield {"advance": 0}


def main():
    for step in story(int(sys.argv[1])):
        print(json.dumps(step))


if __name__ == "__main__":
    main()
