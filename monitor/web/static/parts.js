// What several pages show of an exposure: cameras as tiles, the decision card, reasons, the latency receipt.
import { age, badge, brief, cell, el, number } from "/static/app.js";

const DECISIONS = { go_on: "Go on", repeat: "Repeat", stop: "Stop", call: "Call somebody" };
const MARKS = { go_on: "●", repeat: "↻", stop: "✖", call: "☎" };

export function decisionWord(decision) { return decision ? `${MARKS[decision] || ""} ${DECISIONS[decision] || decision}`.trim() : "not decided"; }

/** The decision on an exposure: what to do, why, what else holds, goals. */
export function decisionCard(card) {
  if (!card) return el("p", { class: "muted", text: "Not decided yet." });
  const also = card.also?.length ? el("details", {},
    el("summary", { text: `${card.also.length} more rule${card.also.length > 1 ? "s" : ""}${card.also.length > 1 ? " hold" : " holds"}` }),
    el("ul", {}, card.also.map((text) => el("li", { text })))) : null;
  const goals = (card.goals || []).map((g) => {
    const of = g.reached === null ? `${g.metric} was not measured`
      : `${number(g.reached, g.unit)} of ${number(g.wanted, g.unit)} reached, ${Math.round((100 * g.reached) / g.wanted)} %`;
    return el("li", { text: `goal ${g.name}: ${of}` });
  });
  return el("div", { class: `decision of-${card.decision}` },
    el("span", { class: "what", text: decisionWord(card.decision) }),
    el("p", { text: card.why }),
    card.action && card.action !== card.why ? el("p", {}, el("b", { text: "What to do: " }), card.action) : null,
    goals.length ? el("ul", { class: "goals reasons" }, goals) : null, also,
    el("p", { class: "muted", text: `${card.measured} of ${card.expected} QAs measured · ${card.cameras} of ${card.cameras_expected} cameras` }));
}

/** That a verdict is what somebody has said, and not what was measured; nothing for others. */
export function byHand(verdict) {
  return verdict?.overrides?.length ? el("span", { class: "muted by-hand", text: "✎ overridden by hand" }) : null;
}

/** What was found of an exposure, the same wherever it stands: what to do, the reasons (`short`: so many at once), what people have overridden. */
export function foundOut(exposure, short = 8) {
  const { verdict, decision, overrides = [] } = exposure;
  return [decision || !verdict ? decisionCard(decision) : null, reasonsList(verdict?.reasons, verdict?.status === "NORMAL" ? "No metric is outside of its limits." : "", short),
    overrides.map((o) => el("p", {}, badge(o.status, { small: true }),
      ` ${o.part || "the exposure"}: overridden by ${o.by}, was ${o.was}: ${o.reason} `, age(o.time)))];
}

/** Cameras in a grid, spectrographs down and arms across where the instrument has them. tile(camera) gives {status, state, text, title, href,
  onclick, pressed}. */
export function cameraGrid(cameras, groups, tile) {
  const arms = [...new Set(cameras.map((c) => groups?.[c]?.arm).filter(Boolean))];
  const rows = [...new Set(cameras.map((c) => groups?.[c]?.spectrograph).filter((v) => v !== undefined))].sort((a, b) => a.localeCompare(b,
    undefined, { numeric: true }));
  const place = new Map(cameras.filter((c) => groups?.[c]?.arm
    && groups[c].spectrograph !== undefined).map((c) => [`${groups[c].spectrograph}/${groups[c].arm}`, c]));
  const grid = el("div", { class: `cameras${rows.length > 3 ? " many" : ""}` });
  if (place.size !== cameras.length || !cameras.length) {
    grid.style.gridTemplateColumns = "repeat(auto-fill, minmax(104px, 1fr))";
    grid.append(...cameras.map((c) => cameraTile(c, tile(c))));
    return grid;
  }
  const wide = rows.length > 3;   // many spectrographs: across, arms down, as people draw them
  const [down, across] = wide ? [arms, rows] : [rows, arms];
  grid.style.gridTemplateColumns = `max-content repeat(${across.length}, minmax(${wide ? 60 : 96}px, 1fr))`;
  grid.append(el("span", { class: "head", text: "" }), ...across.map((a) => el("span", { class: "head", text: wide ? `sp ${a}` : `arm ${a}` })));
  for (const d of down) {
    grid.append(el("span", { class: "head", text: wide ? `arm ${d}` : `sp ${d}` }));
    for (const a of across) {
      const camera = place.get(wide ? `${a}/${d}` : `${d}/${a}`);
      grid.append(camera ? cameraTile(camera, tile(camera)) : el("span", {}));
    }
  }
  return grid;
}

function cameraTile(camera, given) {
  const shown = given.status || given.state;
  const words = `${camera}: ${given.status || given.state}${given.text ? `, ${given.text}` : ""}${given.title ? `. ${given.title}` : ""}`;
  const attributes = { class: `camera of-${shown}${given.absent ? " absent" : ""}`, title: words, "aria-label": words };
  const inner = [el("span", { class: "top-line" }, el("b", { text: camera }), cell(shown)), el("small", { text: given.text || "\u00a0" })];
  if (given.href) return el("a", { ...attributes, href: given.href }, inner);
  return el("button", { ...attributes, type: "button", "aria-pressed": String(Boolean(given.pressed)), on: { click: given.onclick } }, inner);
}

/** What a tile says of a camera of an exposure. */
export function cameraWords(line, expected) {
  if (!line) return { status: null, state: "missing", text: expected ? "absent" : "", absent: true };
  const counts = line.expected ? `${line.measured} of ${line.expected}` : "";
  const states = { open: "waits", running: "at work", failed: "failed", done: "" };
  const title = (line.reasons || []).slice(0, 3).join("; ") || line.failure?.message || "";
  return { status: line.status, state: line.state, text: counts || states[line.state] || line.state, title };
}

/** Sentences, the first ones at once and the others on demand. */
export function reasonsList(reasons, empty = "", short = 8) {
  if (!reasons?.length) return empty ? el("p", { class: "muted", text: empty }) : null;
  const list = el("ul", { class: "reasons" }, reasons.slice(0, short).map((text) => el("li", { text })));
  if (reasons.length <= short) return list;
  const rest = el("details", {}, el("summary", { text: `${reasons.length - short} more reasons` }),
    el("ul", { class: "reasons more", tabindex: "0" }, reasons.slice(short).map((text) => el("li", { text }))));
  return el("div", {}, list, rest);
}

/** The latency receipt: {name: ns}; the moments of the exposure, and of each camera its work from beginning to verdict. */
export function receiptView(times, cameras) {
  const all = Object.entries(times || {});
  if (!all.length) return el("p", { class: "muted", text: "The receipt comes with the verdict." });
  const start = times.closed ?? Math.min(...all.map(([, t]) => t));
  const end = Math.max(...all.map(([, t]) => t));
  const at = (t) => (end > start ? (100 * (t - start)) / (end - start) : 0);
  const seconds = (t) => (t - start) / 1e9;
  const table = () => el("div", { class: "receipt" });
  const add = (rows, name, first, last, text) => {
    const bar = el("i", {});
    bar.style.left = `${Math.max(0, at(first))}%`;
    bar.style.width = `${Math.max(0.5, at(last) - at(first))}%`;
    rows.append(el("span", { text: name }), el("span", { class: "stretch", "aria-hidden": "true" }, bar), el("span", { class: "mono", text }));
  };
  const whole = table(), each = table(), worked = [];
  for (const [name, t] of all.filter(([n]) => !n.includes("/")).sort((a, b) => a[1] - b[1])) add(whole, name, start, t, brief(seconds(t), 2));
  for (const camera of cameras) {
    const own = all.filter(([n]) => n.startsWith(`${camera}/`)).map(([, t]) => t);
    const first = times[`${camera}/started`] ?? (own.length ? Math.min(...own) : null),
      last = times[`${camera}/verdict`] ?? (own.length ? Math.max(...own) : null);
    if (first === null || last === null) continue;
    worked.push([first, last]);
    add(each, camera, first, last, `${brief(seconds(first), 2)} – ${brief(seconds(last), 2)}`);
  }
  const hint = el("p", { class: "hint", text: `Since the file was closed; ${brief(seconds(end), 2)} to the last entry.` });
  if (!worked.length) return el("div", {}, whole, hint);
  if (worked.length <= 8) return el("div", {}, whole, el("h3", { text: "Work on the cameras" }), each, hint);
  add(whole, "cameras", Math.min(...worked.map(([first]) => first)), Math.max(...worked.map(([, last]) => last)),
    `first verdict ${brief(seconds(Math.min(...worked.map(([, last]) => last))), 2)}`);
  return el("div", {}, whole, el("details", {}, el("summary", { text: `work on each of ${worked.length} cameras` }), each), hint);
}

/** `fn`, at once where it was not asked for lately, else when `ms` have passed since it last was. */
export function paced(fn, ms) {
  let last = 0, timer = null;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(() => { timer = null; last = Date.now(); fn(); }, Math.max(0, last + ms - Date.now()));
  };
}
