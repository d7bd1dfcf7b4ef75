"use strict";
(() => {
  const api = location.pathname.replace(/\/portal\/?$/, "") + "/api/v1";
  const refreshMilliseconds = 60000;
  const byID = (id) => document.getElementById(id);
  let session = null;
  let timer = null;

  /** The token comes behind the '#', which no server sees, and leaves the address bar at once. A reload finds it in the
      storage of this tab alone. */
  function readSession() {
    const given = new URLSearchParams(location.hash.slice(1));
    if (given.get("token")) {
      history.replaceState(null, "", location.pathname);
      const found = { token: given.get("token"), tenant: given.get("tenant") };
      try { sessionStorage.setItem("turnpike-portal", JSON.stringify(found)); } catch { /* a frame may have none */ }
      return found;
    }
    try { return JSON.parse(sessionStorage.getItem("turnpike-portal")); } catch { return null; }
  }

  class Refused extends Error {
    constructor(status) { super("status " + status); this.status = status; }
  }

  async function request(path) {
    const answer = await fetch(api + path, {
      headers: { Authorization: "Bearer " + session.token },
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    if (!answer.ok) throw new Refused(answer.status);
    return answer;
  }

  const get = async (path) => (await request(path)).json();
  const ofTenant = (rest) => "/tenants/" + encodeURIComponent(session.tenant) + rest;

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function row(...cells) {
    const made = element("tr");
    made.append(...cells);
    return made;
  }

  // Decimal strings are formatted as they are: a number would lose digits.
  const quantity = (text) => new Intl.NumberFormat(undefined, { maximumFractionDigits: 12 }).format(text);
  const money = (text, currency) => new Intl.NumberFormat(undefined, { style: "currency", currency }).format(text);
  // Days are those of the tenant, as on its invoices, wherever they are read.
  const date = (text, timeZone) =>
    new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone }).format(new Date(text));
  const moment = (text, timeZone) =>
    new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", timeZone }).format(new Date(text));
  /** A period ends before its end: the last day is the one just before. */
  const period = ({ period: { start, end }, timezone }) =>
    date(start, timezone) + " \u2013 " + date(new Date(end).getTime() - 1, timezone);
  const words = (text) => text.replaceAll("_", " ");
  /** Words have a plural; signs such as GB have none. */
  const units = (unit, text) => (text === "1" || !/^[a-z]{3,}[^s]$/.test(unit) ? unit : unit + "s");
  const isZero = (text) => /^-?[0.]+$/.test(text);

  const windows = {
    minute: "This minute", hour: "This hour", day: "Today", week: "This week", month: "This month",
    billing_period: "This billing period", lifetime: "In all",
  };

  /** What is taken of a limit; `shown` writes an amount with its unit. */
  function meter(limit, title, shown) {
    const whole = Number(limit.limit);
    const share = (text) => (whole > 0 ? Math.min(1, Math.max(0, Number(text) / whole)) : 1);
    const used = share(limit.used);
    const held = whole > 0 ? Math.min(1 - used, share(limit.held)) : 0;
    const bar = element("div", null, "bar");
    bar.setAttribute("role", "meter");
    bar.setAttribute("aria-label", title + " used");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.setAttribute("aria-valuenow", String(Math.round((used + held) * 100)));
    bar.setAttribute("aria-valuetext", shown.short(limit.used) + " of " + shown.whole(limit.limit));
    for (const [name, part] of [["used", used], ["held", held]]) {
      const piece = element("span", null, name);
      piece.style.width = part * 100 + "%";
      bar.append(piece);
    }
    return { bar, taken: used + held };
  }

  function card(limit, title, shown, beyond) {
    const { bar, taken } = meter(limit, title, shown);
    const made = element("li", null, "card" + (taken >= 1 ? " full" : taken >= 0.8 ? " near" : ""));
    made.append(element("h3", title));
    made.append(element("p", shown.whole(limit.remaining) + " left", "left"));
    made.append(bar);
    const held = isZero(limit.held) ? "" : ", " + shown.short(limit.held) + " reserved";
    made.append(element("p", shown.short(limit.used) + " of " + shown.short(limit.limit) + " used" + held));
    const until = limit.window.end ? ", until " + moment(limit.window.end, limit.timezone) : "";
    made.append(element("p", windows[limit.window.kind] + until, "quiet"));
    if (taken >= 1) {
      made.append(element("p", "Used up" + (beyond ? ": " + beyond + "." : "."), "state"));
    } else if (taken >= 0.8) {
      made.append(element("p", "Nearly used up.", "state"));
    }
    return made;
  }

  function quotaCard(quota) {
    const shown = { short: quantity, whole: (text) => quantity(text) + " " + units(quota.unit, text) };
    const goesOn = quota.overage === "allowed" || quota.mode === "soft";
    return card(quota, quota.feature_name || quota.feature, shown, goesOn ? "what is used beyond is charged" : "");
  }

  function capCard(cap) {
    const shown = (text) => money(text, cap.currency);
    const goesOn = cap.mode === "soft" ? "usage goes on" : "";
    return card({ ...cap, limit: cap.amount }, "Spend cap", { short: shown, whole: shown }, goesOn);
  }

  /** Nothing where the plan sets none. */
  async function spendCaps() {
    try {
      return [await get(ofTenant("/spend-cap"))];
    } catch (error) {
      if (error.status === 404) return [];
      throw error;
    }
  }

  const zones = { limits: [], invoice: [] };

  /** Says which zone times are of, where all are of one. */
  function tellZone(part, shown) {
    zones[part] = shown.map((limit) => limit.timezone).filter(Boolean);
    const known = new Set([...zones.limits, ...zones.invoice]);
    byID("zone").textContent = known.size === 1 ? "Times are those of " + [...known][0] + "." : "";
  }

  async function showQuotas() {
    const [{ data }, caps] = await Promise.all([get(ofTenant("/quotas?limit=500")), spendCaps()]);
    tellZone("limits", [...data, ...caps]);
    byID("quota-list").replaceChildren(...data.map(quotaCard), ...caps.map(capCard));
    return data.length + caps.length > 0;
  }

  async function showUpcoming() {
    const invoice = await get(ofTenant("/upcoming-invoice"));
    const amount = (text) => element("td", money(text, invoice.currency), "number");
    byID("tenant").textContent = invoice.tenant_name || session.tenant;
    byID("upcoming-period").textContent = period(invoice) + ", as of now";
    tellZone("invoice", [invoice]);
    const lines = invoice.lines.map((line) =>
      row(
        element("td", line.description),
        element("td", line.quantity ? quantity(line.quantity) : "", "number"),
        amount(line.amount),
      ),
    );
    if (lines.length === 0) {
      const none = element("td", "Nothing is charged so far.");
      none.colSpan = 3;
      lines.push(row(none));
    }
    byID("upcoming-lines").replaceChildren(...lines);
    const sums = [
      ["Subtotal", invoice.subtotal], ["Discount", "-" + invoice.discount], ["Credits", "-" + invoice.credits],
      ["Tax", invoice.tax], ["Total", invoice.total], ["Paid by credit", "-" + invoice.paid_by_credit],
    ];
    const isShown = ([name, sum]) => name === "Total" || !isZero(sum);
    const totals = sums.filter(isShown).map(([name, sum]) => {
      const title = element("th", name);
      title.scope = "row";
      title.colSpan = 2;
      const made = row(title, amount(sum));
      if (name === "Total") made.className = "total";
      return made;
    });
    byID("upcoming-totals").replaceChildren(...totals);
    return true;
  }

  async function download(invoice, button) {
    button.disabled = true;
    try {
      const file = await (await request("/invoices/" + encodeURIComponent(invoice.id) + ".pdf")).blob();
      const link = element("a");
      link.href = URL.createObjectURL(file);
      link.download = (invoice.number || invoice.id) + ".pdf";
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (error) {
      tell(error);
    } finally {
      button.disabled = false;
    }
  }

  /** What is still to be paid is less than the total where credit or a credit note covers some of it. */
  function stateOf(invoice) {
    const states = { draft: "not issued yet", finalized: "open" };
    const state = invoice.overdue ? "overdue" : states[invoice.status] || words(invoice.status);
    if (invoice.status !== "finalized" || isZero(invoice.amount_outstanding)) return state;
    const due = invoice.due_at ? " by " + date(invoice.due_at, invoice.timezone) : "";
    return state + ": " + money(invoice.amount_outstanding, invoice.currency) + " due" + due;
  }

  function invoiceRow(invoice) {
    const number = element("th", invoice.number || "Draft", invoice.number ? "nowrap" : "nowrap quiet");
    number.scope = "row";
    const button = element("button", "PDF");
    button.type = "button";
    const name = invoice.number ? "invoice " + invoice.number : "draft of " + period(invoice);
    button.setAttribute("aria-label", "Download " + name + " as PDF");
    button.addEventListener("click", () => download(invoice, button));
    const action = element("td", null, "number");
    action.append(button);
    return row(
      number,
      element("td", period(invoice), "nowrap"),
      element("td", stateOf(invoice)),
      element("td", money(invoice.total, invoice.currency), "number"),
      action,
    );
  }

  /** A draft, of a period that is over, is computed when it is read by itself; none where it is gone meanwhile. */
  async function computed(invoice) {
    if (invoice.status !== "draft") return [invoice];
    try {
      return [await get("/invoices/" + encodeURIComponent(invoice.id))];
    } catch (error) {
      if (error.status === 404) return [];
      throw error;
    }
  }

  async function showInvoices(cursor) {
    const { data, next_cursor: next } =
      await get(ofTenant("/invoices?limit=50" + (cursor ? "&cursor=" + encodeURIComponent(cursor) : "")));
    const rows = (await Promise.all(data.map(computed))).flat().map(invoiceRow);
    if (cursor) byID("invoice-rows").append(...rows);
    else byID("invoice-rows").replaceChildren(...rows);
    const more = byID("more");
    more.hidden = !next;
    more.onclick = () => showInvoices(next).catch(tell);
    return byID("invoice-rows").childElementCount > 0 || next !== null;
  }

  function tell(error) {
    const isOver = error instanceof Refused && error.status === 401;
    if (isOver) {
      clearInterval(timer);
      for (const name of ["quotas", "upcoming", "invoices"]) byID(name).hidden = true;
      try { sessionStorage.removeItem("turnpike-portal"); } catch { /* a frame may have none */ }
    }
    byID("notice").textContent = isOver
      ? "This link is no longer valid. Open the page again from where you came."
      : "The service can't be reached at the moment. Try again in a minute.";
  }

  /** A part that the session may not see, or that the tenant does not have, stays away. */
  async function show(name, load) {
    try {
      byID(name).hidden = !(await load());
    } catch (error) {
      if (error instanceof Refused && (error.status === 403 || error.status === 404)) byID(name).hidden = true;
      else throw error;
    }
  }

  async function refresh(...parts) {
    const loads = { quotas: showQuotas, upcoming: showUpcoming, invoices: showInvoices };
    const results = await Promise.allSettled(parts.map((name) => show(name, () => loads[name]())));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) return tell(failed.reason);
    const isEmpty = ["quotas", "upcoming", "invoices"].every((name) => byID(name).hidden);
    byID("notice").textContent = isEmpty ? "There is nothing to show yet." : "";
  }

  function start() {
    session = readSession();
    if (!session || !session.token || !session.tenant) return tell(new Refused(401));
    byID("tenant").textContent = session.tenant;
    clearInterval(timer);
    timer = setInterval(() => {
      if (document.visibilityState === "visible") refresh("quotas", "upcoming");
    }, refreshMilliseconds);
    refresh("quotas", "upcoming", "invoices");
  }

  addEventListener("hashchange", () => { if (location.hash.length > 1) start(); });
  start();
})();
