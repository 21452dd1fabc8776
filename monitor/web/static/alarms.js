// Page Alarms: what stands (acknowledge, mute, mark), what is muted, what has been, and how good the alarms are.
import { act, age, announce, api, ask, badge, coalesce, el, live, noAlarm, plural, severityStatus, span, stack, unitPath, when } from "/static/app.js";
import { refill } from "/static/refill.js";

const at = (id) => document.getElementById(id);

function severity(s) { return badge(severityStatus(s), { text: s, small: true }); }

function state(alarm) {
  const of = { firing: "ALARM", pending: "PENDING", acknowledged: "WARNING", muted: "OFF", resolved: "INFO", closed: "OFF" }[alarm.state] || "UNKNOWN";
  return badge(alarm.folded ? "OFF" : of, { text: alarm.folded ? `${alarm.state}, folded` : alarm.state, small: true });
}

function place(alarm) {
  const unit = alarm.facts.unit || (/^\d{8}\/\d+$/.exec(alarm.where || "") || [])[0];
  if (unit) return el("a", { href: unitPath(unit), text: alarm.where || unit });
  return alarm.where ? el("span", { text: alarm.where }) : null;
}

function standing(alarm) {
  const may = alarm.state === "firing" || alarm.state === "muted" || alarm.state === "resolved";
  return el("article", { class: `alarm${alarm.folded ? " folded" : ""}`, "data-key": alarm.key, "aria-label": alarm.what },
    el("div", { class: "row" }, severity(alarm.worst), state(alarm), el("b", { class: "wrap", text: alarm.what })),
    el("div", { class: "row muted" }, place(alarm), el("span", {}, "began ", age(alarm.began)), alarm.ended ? el("span", {}, "ended ", age(alarm.ended), `, after ${span((alarm.ended - alarm.began) / 1e9)}`) : null,
      alarm.folded ? el("span", { class: "wrap", text: `folded into ${alarm.folded}` }) : null,
      alarm.count > 1 ? el("span", { text: `${alarm.count} times` }) : null, alarm.told.length ? el("span", { text: `told: ${alarm.told.join(", ")}` }) : null,
      alarm.by ? el("span", { text: `by ${alarm.by}${alarm.why ? `: ${alarm.why}` : ""}` }) : null),
    Object.keys(alarm.facts).length ? el("details", {}, el("summary", {}, "facts", el("span", { class: "sr", text: ` of ${alarm.key}` })), el("dl", { class: "facts" },
      Object.entries(alarm.facts).map(([k, v]) => [el("dt", { text: k }), el("dd", { text: v })]))) : null,
    el("div", { class: "row actions" },
      may && alarm.state !== "acknowledged" ? el("button", { type: "button", class: "small primary", text: "Acknowledge", "aria-label": `Acknowledge ${alarm.what}`, on: { click: () => acknowledge(alarm) } }) : null,
      el("button", { type: "button", class: "small", text: "Mute", "aria-label": `Mute ${alarm.what}`, on: { click: () => mute(alarm.key) } }),
      el("button", { type: "button", class: "small", text: "Noise", "aria-label": `${alarm.what} is noise`, on: { click: () => mark(alarm.fingerprint, "noise") } }),
      el("button", { type: "button", class: "small", text: "Useful", "aria-label": `${alarm.what} is useful`, on: { click: () => mark(alarm.fingerprint, "useful") } }),
      el("span", { class: "mono muted", text: alarm.key })));
}

async function acknowledge(alarm) {
  const given = await ask(`Acknowledge “${alarm.what}”: it is seen, and somebody cares`, [{ name: "reason", label: "What is done about it (may be empty)", required: false }], { ok: "Acknowledge" });
  if (given === null) return;
  const args = { alarm: alarm.fingerprint, ...(given.reason ? { reason: given.reason } : {}) };
  if (await act("acknowledge", args)) { announce("acknowledged"); refresh(); }
}

async function mute(pattern) {
  const given = await ask("Mute: no messages for a while", [
    { name: "pattern", label: "Which (key, or a pattern with *)", value: pattern },
    { name: "minutes", label: "Minutes", type: "number", value: "60", min: 1 },
    { name: "reason", label: "Why" }], { ok: "Mute" });
  if (given !== null && await act("mute", given)) refresh();
}

async function mark(fingerprint, as) {
  if (await act("mark", { alarm: fingerprint, as })) refresh();
}

async function unmute(id) {
  if (await act("unmute", { mute: id })) refresh();
}

/** What is over comes last, what has a cause that stands below it. */
function standingList(alarms) {
  const over = alarms.filter((a) => a.state === "resolved"), open = alarms.filter((a) => a.state !== "resolved");
  const keys = new Set(open.map((a) => a.key)), first = open.filter((a) => !keys.has(a.folded));
  const calm = (a) => Number(a.state !== "firing");
  first.sort((a, b) => calm(a) - calm(b));   // otherwise the worst first, as they came
  return [open.length ? first.flatMap((a) => [a, ...open.filter((b) => b.folded === a.key)]).map(standing) : noAlarm(),
    over.length ? [el("h3", { text: "Over, and not acknowledged" }), over.map(standing)] : null];
}

function mutesTable(mutes) {
  if (!mutes.length) return el("p", { class: "muted", text: "Nothing is muted." });
  return stack([{ text: "which", css: "mono wrap" }, "up to", "by", { text: "why", css: "wrap" }, "until (UTC)", "action"], mutes.map((m) => [
    m.pattern, severity(m.severity), m.owner, m.reason, [when(m.until, { date: true }), " (", age(m.until), ")"],
    el("button", { type: "button", class: "small", text: "End", "aria-label": `End the mute of ${m.pattern}`, on: { click: () => unmute(m.id) } })]));
}

function pastTable(past, total) {
  if (!past.length) return el("p", { class: "muted", text: "No alarm was ever raised here." });
  const thought = (p) => el("span", { class: "row tight" }, p.mark ? el("b", { text: p.mark }) : null, ["useful", "noise"].filter((m) => m !== p.mark).map((m) =>
    el("button", { type: "button", class: "small", text: m, "aria-label": `${p.what}, ${when(p.fired)}: ${m}`, on: { click: () => mark(p.fingerprint, m) } })));
  const rows = past.map((p) => [when(p.fired, { date: true }), severity(p.worst), [p.what, el("div", { class: "mono muted", text: `${p.rule} ${p.fingerprint}` })],
    p.ended ? span((p.ended - p.fired) / 1e9) : "still", p.acknowledged ? `${p.by}, after ${span((p.acknowledged - p.fired) / 1e9)}` : "nobody", thought(p)]);
  return [stack([{ text: "fired (UTC)", css: "mono still" }, "severity", { text: "what", css: "wrap" }, { text: "lasted", css: "still" }, "acknowledged", "useful or noise"], rows),
    total > past.length ? el("p", { class: "muted", text: `${past.length} of ${total} are shown; all of them: quicklook alarms list` }) : null];
}

const perDay = (n) => (n < 0.1 ? n.toFixed(2) : n.toFixed(1));

function reportTable(card) {
  if (!card.incidents) return el("p", { class: "muted", text: "No alarm has fired in this time." });
  const head = [{ text: "rule", css: "mono wrap", row: true }, ...["alarms", "a day", "told", "useful", "noise", "acknowledged", "time to acknowledge (median)"].map((text) => (
    { text, css: "n" })), "remark"];
  const rows = card.rules.map((r) => [r.rule, String(r.incidents), perDay(r.per_day), String(r.told), String(r.useful), String(r.noise), `${r.acknowledged} of ${r.incidents}`,
    r.seconds_to_acknowledge === null ? "–" : span(r.seconds_to_acknowledge), r.acted ? null : badge("UNKNOWN", { text: "nobody has acted on it", small: true })]);
  const idle = card.rules.filter((r) => !r.acted).length;
  return [el("p", { text: `${plural(card.incidents, "alarm")} (${perDay(card.per_day)} a day) by ${plural(card.rules.length, "rule")}${idle
    ? `; of ${idle} nobody has acknowledged any, or called any useful: if that stays so, mend their limits, or switch them off` : ""}.` }), stack(head, rows)];
}

let got = null;

/** Each part is made anew only where it has changed: somebody may be about to press a button of it. */
function show() {
  if (!got) return;
  const { now, mutes, past, past_total: total } = got.alarms;
  refill(at("standing"), [now, live.state, live.watched], () => standingList(now));
  at("mute-count").textContent = mutes.length ? `${mutes.length} muted` : "";
  refill(at("mutes"), mutes, () => mutesTable(mutes));
  refill(at("past"), [past, total], () => pastTable(past, total));
  refill(at("report"), got.card.rules, () => reportTable(got.card));
}

async function refreshNow() {
  const [alarms, card] = await Promise.all([api("/alarms", { past: 200 }), api("/alarms/report", { days: at("days").value })]);
  got = { alarms, card };
  show();
}

const refresh = coalesce(refreshNow, 400);
at("days").addEventListener("change", refresh);
at("mute-new").addEventListener("click", () => mute(""));
live.onSync(refreshNow);
live.onState(show);
for (const kind of ["alarm", "mutes", "command", "watched"]) live.on(kind, refresh);
