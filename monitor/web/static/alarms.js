// Page Alarms: what stands (acknowledge, mute, mark), what is muted, what has been, and how good the alarms are.
import { act, age, announce, api, ask, badge, coalesce, el, fill, live, noAlarm, span, unitPath, when } from "/static/app.js";

const at = (id) => document.getElementById(id);
const WORDS = { ALARM: "ALARM", WARNING: "WARNING", NOTICE: "NORMAL", INFO: "NORMAL", NONE: "NORMAL" };

function severity(s) { return badge(WORDS[s] || "UNKNOWN", { text: s, small: true }); }

function state(alarm) {
  const of = { firing: "ALARM", pending: "PENDING", acknowledged: "WARNING", muted: "OFF", resolved: "NORMAL", closed: "OFF" }[alarm.state] || "UNKNOWN";
  return badge(alarm.folded ? "OFF" : of, { text: alarm.folded ? `${alarm.state}, of ${alarm.folded}` : alarm.state, small: true });
}

function place(alarm) {
  const unit = alarm.facts.unit || (/^\d{8}\/\d+$/.exec(alarm.where || "") || [])[0];
  return unit ? el("a", { href: unitPath(unit), text: alarm.where || unit }) : el("span", { text: alarm.where });
}

function standing(alarm) {
  const may = alarm.state === "firing" || alarm.state === "muted" || alarm.state === "resolved";
  return el("article", { class: "alarm", "data-key": alarm.key, "aria-label": alarm.what },
    el("div", { class: "row" }, severity(alarm.worst), state(alarm), el("b", { class: "wrap", text: alarm.what })),
    el("div", { class: "row muted" }, place(alarm), el("span", {}, "began ", age(alarm.began)), alarm.ended ? el("span", {}, "ended ", age(alarm.ended)) : null,
      alarm.count > 1 ? el("span", { text: `${alarm.count} times` }) : null, alarm.told.length ? el("span", { text: `told: ${alarm.told.join(", ")}` }) : null,
      alarm.by ? el("span", { text: `by ${alarm.by}${alarm.why ? `: ${alarm.why}` : ""}` }) : null),
    Object.keys(alarm.facts).length ? el("details", {}, el("summary", { text: "facts" }), el("dl", { class: "facts" },
      Object.entries(alarm.facts).map(([k, v]) => [el("dt", { text: k }), el("dd", { text: v })]))) : null,
    el("div", { class: "row actions" },
      may && alarm.state !== "acknowledged" ? el("button", { type: "button", class: "small primary", text: "Acknowledge", "aria-label": `Acknowledge ${alarm.what}`, on: { click: () => acknowledge(alarm) } }) : null,
      el("button", { type: "button", class: "small", text: "Mute", "aria-label": `Mute ${alarm.what}`, on: { click: () => mute(alarm.key) } }),
      el("button", { type: "button", class: "small", text: "Noise", "aria-label": `${alarm.what} is noise`, on: { click: () => mark(alarm.fingerprint, "noise") } }),
      el("button", { type: "button", class: "small", text: "Useful", "aria-label": `${alarm.what} is useful`, on: { click: () => mark(alarm.fingerprint, "useful") } }),
      el("span", { class: "mono muted", text: alarm.key })));
}

async function acknowledge(alarm) {
  const given = await ask("Acknowledge: it is seen, and somebody cares", [{ name: "reason", label: "What is done about it (may be empty)", required: false }], { ok: "Acknowledge" });
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

function showMutes(mutes) {
  at("mute-count").textContent = mutes.length ? `${mutes.length} muted` : "nothing is muted";
  if (!mutes.length) { fill(at("mutes"), el("p", { class: "muted", text: "Nothing is muted." })); return; }
  const head = ["which", "up to", "by", "why", "until (UTC)", "action"].map((text) => el("th", { scope: "col", text }));
  fill(at("mutes"), el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, mutes.map((m) => el("tr", {},
    el("td", { class: "mono wrap", text: m.pattern }), el("td", {}, severity(m.severity)), el("td", { text: m.owner }), el("td", { class: "wrap", text: m.reason }),
    el("td", {}, when(m.until, { date: true }), " (", age(m.until), ")"),
    el("td", {}, el("button", { type: "button", class: "small", text: "End", "aria-label": `End the mute of ${m.pattern}`, on: { click: () => unmute(m.id) } })))))));
}

function showPast(past, total) {
  if (!past.length) { fill(at("past"), el("p", { class: "muted", text: "No alarm was ever raised here." })); return; }
  const head = ["fired (UTC)", "severity", "what", "lasted", "acknowledged", "useful or noise"].map((text) => el("th", { scope: "col", text }));
  const rows = past.map((p) => el("tr", {},
    el("td", { class: "mono", text: when(p.fired, { date: true }) }), el("td", {}, severity(p.worst)),
    el("td", { class: "wrap" }, p.what, el("div", { class: "mono muted", text: `${p.rule} ${p.fingerprint}` })),
    el("td", { text: p.ended ? span((p.ended - p.fired) / 1e9) : "still" }),
    el("td", { text: p.acknowledged ? `${p.by}, after ${span((p.acknowledged - p.fired) / 1e9)}` : "nobody" }),
    el("td", {}, el("span", { class: "row" }, p.mark ? el("b", { text: p.mark }) : null, ["useful", "noise"].filter((m) => m !== p.mark).map((m) =>
      el("button", { type: "button", class: "small", text: m, "aria-label": `${p.what}, ${when(p.fired)}: ${m}`, on: { click: () => mark(p.fingerprint, m) } }))))));
  fill(at("past"), el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)),
    total > past.length ? el("p", { class: "muted", text: `${past.length} of ${total} are shown; all of them: quicklook alarms list` }) : null);
}

const perDay = (n) => (n < 0.1 ? n.toFixed(2) : n.toFixed(1));

function showReport(card) {
  if (!card.incidents) { fill(at("report"), el("p", { class: "muted", text: "No alarm has fired in this time." })); return; }
  const head = ["rule", "alarms", "a day", "told", "useful", "noise", "acknowledged", "time to acknowledge (median)", "remark"].map((text, i, all) => el("th",
    { scope: "col", class: i && i < all.length - 1 ? "n" : "", text }));
  const rows = card.rules.map((r) => el("tr", {}, el("th", { scope: "row", class: "mono wrap", text: r.rule }),
    [r.incidents, perDay(r.per_day), r.told, r.useful, r.noise, `${r.acknowledged} of ${r.incidents}`,
      r.seconds_to_acknowledge === null ? "–" : span(r.seconds_to_acknowledge)].map((text) => el("td", { class: "n", text: String(text) })),
    el("td", {}, r.acted ? null : badge("UNKNOWN", { text: "nobody has acted on it", small: true }))));
  const idle = card.rules.filter((r) => !r.acted).length;
  fill(at("report"), el("p", { text: `${card.incidents} alarm${card.incidents > 1 ? "s" : ""} (${perDay(card.per_day)} a day) by ${card.rules.length} rule${card.rules.length > 1 ? "s" : ""}${idle
    ? `; of ${idle} nobody has acknowledged any, or called any useful: if that stays so, mend their limits, or switch them off` : ""}.` }),
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

async function refreshNow() {
  const now = await api("/alarms", { past: 200 });
  fill(at("standing"), now.now.length ? now.now.map(standing) : noAlarm());
  showMutes(now.mutes);
  showPast(now.past, now.past_total);
  showReport(await api("/alarms/report", { days: at("days").value }));
}

const refresh = coalesce(refreshNow, 400);
at("days").addEventListener("change", refresh);
at("mute-new").addEventListener("click", () => mute(""));
live.onSync(refreshNow);
for (const kind of ["alarm", "mutes", "command", "watched"]) live.on(kind, refresh);
