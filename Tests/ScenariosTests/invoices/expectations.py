"""Requests, and what is expected of their answers."""

import json
from collections import Counter

ADDED_UP = {"units", "payments", "calls", "cells", "pages"}


def text(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def decimal(value):
    """With as many digits as it has."""
    digits = str(abs(int(value * 10**12))).rjust(13, "0")
    found = f"{digits[:-12]}.{digits[-12:]}".rstrip("0").rstrip(".")
    return f"-{found}" if value < 0 else found


def number(value):
    return {"number": decimal(value)}


def request(method, path, body=None, status=200, save=None, expect=None):
    step = {"method": method, "path": path, "status": status}
    return step | {name: value for name, value in (("body", body), ("save", save), ("expect", expect)) if value}


def line_rows(account, invoice):
    """Zero lines may be there or not. Lines that look the same are expected without their parts."""
    matches = [line_match(line) for line in invoice.lines]
    seen = Counter(json.dumps(match) for match in matches)
    rows = [
        {"match": match, "expect": {} if seen[json.dumps(match)] > 1 else line_expectation(account, invoice, line)}
        for line, match in zip(invoice.lines, matches)
    ]
    return {"rows": rows, "extra": "zero_amount"}


def line_match(line):
    match = {"/item": line.item, "/amount": number(line.amount)}
    match |= {"/plan": line.plan[0], "/plan_version": line.plan[1]} if line.plan else {}
    match |= {"/cell": line.cell} if line.cell else {}
    return match | ({"/feature" if line.item == "usage" else "/fee": line.name} if line.name else {})


def line_parts(line):
    return {
        "/previously_invoiced": number(line.previously),
        "/discount": number(line.discount),
        "/included_credit": number(line.included),
        "/promotional_credit": number(line.promotional),
        "/credited_before": number(line.credited_before),
        "/tax": number(line.tax),
    }


def line_expectation(account, invoice, line):
    """The rules don't say which kind the line has of which other invoices together come to nothing."""
    expect = line_parts(line) | {
        "/taxes": {"rows": [{"match": {"/rate": rate}, "expect": {"/amount": number(tax)}}
                            for rate, tax in line.taxes.items() if tax], "extra": "zero_amount"},
    }
    if not line.comes_to_nothing_before:
        expect["/kind"] = invoice.kind_of(line)
    is_first = line.period == invoice.period and not line.previously
    if is_first and line.item != "fee_in_advance" and line.quantity and line.name in ADDED_UP:
        expect |= {"/quantity": number(line.quantity[0]), "/quantity_before": number(line.quantity[1])}
    if line.span == account.period(line.period):
        expect["/period"] = {"start": text(line.span[0]), "end": text(line.span[1])}
    return expect


def invoice_expectation(account, invoice):
    """The sums and lines."""
    return {
        "/invoice_kind": invoice.kind,
        "/tenant": account.key,
        "/currency": account.currency,
        "/subtotal": number(invoice.sum("amount")),
        "/discount": number(invoice.sum("discount")),
        "/credits": number(sum(invoice.sum(what) for what in ("included", "promotional", "credited_before"))),
        "/tax": number(invoice.sum("tax")),
        "/total": number(invoice.total),
        "/carried_forward": number(invoice.carried_forward),
        "/paid_by_credit": number(invoice.paid_by_credit),
        "/amount_due": number(invoice.total - invoice.paid_by_credit),
        "/lines": line_rows(account, invoice),
        "/discounts": {"rows": [{"match": {"/name": discount.name}, "expect": {"/taken": number(taken)}}
                                for discount, taken in invoice.discounts.items()], "extra": "none"},
        "/applied_credits": credit_rows(invoice.promotional | invoice.prepaid),
        "/returned_credits": credit_rows(invoice.returned),
        "/unpriced": [],
    }


def credit_rows(amounts):
    return {"rows": [{"match": {"/credit_grant": f"${{{grant.name}}}"},
                      "expect": {"/kind": grant.kind, "/amount": number(amount)}}
                     for grant, amount in amounts.items()], "extra": "none"}


def state_expectation(invoice):
    """What is outstanding of a void invoice the rules don't say."""
    expect = {"/status": invoice.status, "/credited": number(invoice.credited)}
    return expect if invoice.status == "void" else expect | {"/amount_outstanding": number(invoice.outstanding)}
