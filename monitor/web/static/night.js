// Page Night: the exposures of a night in a table, with all cameras of each; filters, sorting, keys; the tests of the session.
import { about, age, announce, api, badge, brief, coalesce, el, fill, live, plural, prefs, shape, unitPath, when } from "/static/app.js";
import { decisionWord, paced } from "/static/parts.js";

const place = (id) => document.getElementById(id);
const CLASS = { WARNING: "w", ALARM: "a", UNKNOWN: "u", failed: "u", running: "r", missing: "o" };
const RANK = { ALARM: 4, WARNING: 3, UNKNOWN: 2, running: 1, NORMAL: 0 };
const FIRST_ROWS = 40, CHUNK = 60;
const CAMERA_PX = 15, DENSE_PX = 10, DENSE = 12;   // of more than so many cameras each has less room

const query = new URLSearchParams(location.search);
let night = query.get("night") || "", following = !night, tag = query.get("tag") || "", info = null, units = [], nights = [], chosen = null;
let sort = prefs.get("night.sort", { by: "seen", down: true });
const wanted = { text: query.get("find") || "", statuses: new Set(), flavor: "" };
const rowsByUnit = new Map();   // unit -> {line as JSON, row}

const COLUMNS = [
  { by: "expid", title: "Exposure", w: 92, key: (u) => u.expid }, { by: "status", title: "Verdict", w: 136, key: (u) => RANK[statusOf(u)] },
  { by: "cameras", title: "Cameras", key: (u) => Object.values(u.parts).filter((s) => s !== "NORMAL").length },
    { by: "flavor", title: "Flavor", w: 132, key: (u) => `${u.flavor} ${u.program}` },
  { by: "exptime", title: "Seconds", w: 96, n: true, spare: true, key: (u) => u.exptime_s ?? -1 },
    { by: "decision", title: "Decision", w: 152, key: (u) => u.decision || "" }, { by: "why", title: "Why", w: 172, key: (u) => u.reasons[0] || u.why },
  { by: "time", title: "Began", about: "UTC", w: 84, key: (u) => u.tags.start || "" },
    { by: "latency", title: "To verdict", w: 100, n: true, key: (u) => u.seconds_to_verdict ?? -1 },
    { by: "seen", title: "Arrived", about: "UTC", w: 92, spare: true, key: (u) => u.seen },
];
const SPARE = COLUMNS.filter((c) => c.spare).reverse();   // left out, in this order, where all of them do not fit, with some more room for the reasons
const MORE_PX = 130;

const statusOf = (u) => u.status || "running";

// ---- the table

function cameras() {
  const all = info.cameras.length ? info.cameras : [...new Set(units.flatMap((u) => Object.keys(u.parts)))].sort();
  const number = (c) => Number(info.groups?.[c]?.spectrograph ?? 0);
  return [...all].sort((a, b) => armOf(a).localeCompare(armOf(b)) || number(a) - number(b) || a.localeCompare(b, undefined, { numeric: true }));
}

/** The arm of a camera; where the instrument has none, the letters that its name begins with. */
function armOf(camera) { return info.groups?.[camera]?.arm ?? (/^[A-Za-z]+(?=\d)/.exec(camera) || [""])[0]; }

const pxOf = (list) => (list.length > DENSE ? DENSE_PX : CAMERA_PX);

/** Marks of cameras side by side, with a gap between arms. */
function spread(list, mark) {
  const marks = [];
  list.forEach((c, i) => {
    if (i && armOf(c) !== armOf(list[i - 1])) marks.push(el("i", { class: "gap" }));
    marks.push(mark(c));
  });
  return el("span", { class: "cams", "aria-hidden": "true" }, marks);
}

function cameraHead(list) {
  const dense = list.length > DENSE;
  const heads = spread(list, (c) => el("i", { title: c, text: dense ? (info.groups?.[c]?.spectrograph ?? c).slice(-1) : c.slice(0, 2) }));
  return dense ? [armHead(list), heads] : heads;
}

/** The arms, each above its cameras: their numbers alone do not say of which they are. */
function armHead(list) {
  const counts = new Map();
  for (const c of list) counts.set(armOf(c), (counts.get(armOf(c)) || 0) + 1);
  const marks = [...counts].flatMap(([arm, n], i) => [i ? el("i", { class: "gap" }) : null, el("i", { text: arm, style: { width: `${DENSE_PX * n}px` } })]);
  return counts.size > 1 ? el("div", { class: "cams", "aria-hidden": "true" }, marks) : null;
}

/** Widths of the columns that are shown; those that can be spared go where all do not fit. */
function widths(list) {
  const arms = new Set(list.map(armOf)).size, shown = new Map(COLUMNS.map((c) => [c.by, c.w]));
  shown.set("cameras", Math.max(96, 20 + pxOf(list) * list.length + 7 * (arms - 1)));
  const room = place("scroll").clientWidth, all = () => [...shown.values()].reduce((sum, w) => sum + w, 0);
  for (const c of SPARE) if (all() + MORE_PX > room) shown.delete(c.by);
  return { shown, all: all() };
}

function head(list) {
  const { shown, all } = widths(list), table = place("table");
  fill(place("head"), el("tr", {}, COLUMNS.map((c) => {
    const order = sort.by === c.by ? (sort.down ? "descending" : "ascending") : "none";
    const button = el("button", { type: "button", title: c.about, text: c.title, on: { click: () => sortBy(c.by) } });
    const width = c.by !== "why" && shown.get(c.by);
    return el("th", { scope: "col", "aria-sort": order, class: c.n ? "n" : "", style: width ? { width: `${width}px` } : {} }, button,
      c.by === "cameras" ? el("div", {}, cameraHead(list)) : null);
  })));
  table.style.minWidth = `${all}px`;
  table.style.setProperty("--camera", `${pxOf(list)}px`);
  for (const c of SPARE) table.classList.toggle(`no-${c.by}`, !shown.has(c.by));
}

function sortBy(by) {
  sort = { by, down: sort.by === by ? !sort.down : ["seen", "status", "cameras", "latency", "time"].includes(by) };
  prefs.set("night.sort", sort);
  show();
  place("head").querySelector(`th:nth-child(${COLUMNS.findIndex((c) => c.by === by) + 1}) button`).focus();
}

/** The cameras of an exposure; those beside each other that are NORMAL are one element, its background: a night has thousands of them. */
function strip(u, list) {
  const span = document.createElement("span"), px = pxOf(list);
  span.className = "cams";
  let before = null;
  const told = [];
  for (const c of list) {
    const group = armOf(c);
    if (before !== null && group !== before) { const gap = document.createElement("i"); gap.className = "gap"; span.append(gap); }
    before = group;
    const state = u.parts[c] ?? (u.expected.includes(c) ? "missing" : null), last = span.lastElementChild;
    if (state === "NORMAL" && last?.className === "run") { last.style.width = `${px + parseInt(last.style.width, 10)}px`; continue; }
    const mark = document.createElement("i");
    if (state === "NORMAL") { mark.className = "run"; mark.style.width = `${px}px`; span.append(mark); continue; }
    mark.className = CLASS[state] || "o";
    mark.textContent = state === null ? " " : shape(state);
    if (state !== null) { mark.title = `${c}: ${state}`; told.push(`${c} ${state}`); }
    span.append(mark);
  }
  span.setAttribute("role", "img");
  span.setAttribute("aria-label", told.length ? told.join(", ") : `${Object.keys(u.parts).length} cameras, all NORMAL`);
  return span;
}

function makeRow(u, list) {
  const td = (text, cls = "") => { const cell = document.createElement("td"); if (cls) cell.className = cls; cell.textContent = text; return cell; };
  const row = document.createElement("tr");
  row.dataset.unit = u.unit;
  const link = el("a", { href: unitPath(u.unit, { tag }), text: String(u.expid) });
  const why = td(u.reasons[0] || u.why || "", "why");
  if (u.reasons.length > 1) why.append(` (+${u.reasons.length - 1})`);
  why.title = u.reasons.join("\n") || u.why;
  const verdict = el("td", {}, u.status ? badge(u.status, { small: true }) : badge("running", { text: "being judged", small: true }),
    u.overridden ? el("span", { class: "hint", role: "img", "aria-label": "overridden by hand", title: "overridden by hand", text: " ✎" }) : null);
  const flavor = u.program && !u.program.includes(u.flavor) ? `${u.flavor} · ${u.program}` : u.flavor;
  row.append(el("td", {}, link), verdict, el("td", {}, strip(u, list)), el("td", { class: "time", title: flavor, text: flavor }),
    td(u.exptime_s === null ? "" : String(u.exptime_s), "n"), td(u.decision ? decisionWord(u.decision) : "", "time"), why,
    td(u.tags.start ? u.tags.start.slice(11, 19) : "", "time"), td(u.seconds_to_verdict === null ? "" : brief(u.seconds_to_verdict),
      "n"), td(when(u.seen), "time"));
  return row;
}

function matches(u) {
  if (wanted.statuses.size && !wanted.statuses.has(statusOf(u))) return false;
  if (wanted.flavor && u.flavor !== wanted.flavor) return false;
  return wanted.text.toLowerCase().split(/\s+/).filter(Boolean).every((word) => {
    const [name, value] = word.split("=");
    if (value !== undefined) return [u.parts, u.tags].some((of) => Object.entries(of).some(([k, v]) => k.toLowerCase() === name && v.toLowerCase() === value));
    return u.search.includes(word);
  });
}

let painting = 0, inColumns = "";

function show() {
  const list = cameras(), key = COLUMNS.find((c) => c.by === sort.by)?.key ?? ((u) => u.seen), mine = ++painting;
  head(list);
  if (list.join(" ") !== inColumns) rowsByUnit.clear();   // a camera more has come: those of the rows would stand below other names
  inColumns = list.join(" ");
  const found = units.filter(matches);
  found.sort((a, b) => { const x = key(a), y = key(b); return (x < y ? -1 : x > y ? 1 : a.seen - b.seen) * (sort.down ? -1 : 1); });
  const rowOf = (u) => {
    const known = rowsByUnit.get(u.unit);
    if (known && known.text === u.text) return known.row;
    const row = makeRow(u, list);
    rowsByUnit.set(u.unit, { text: u.text, row });
    return row;
  };
  const body = place("rows");
  body.replaceChildren(...found.slice(0, FIRST_ROWS).map(rowOf));
  const more = (from) => {
    if (mine !== painting || from >= found.length) { if (mine === painting) choose(chosen, false); return; }
    body.append(...found.slice(from, from + CHUNK).map(rowOf));
    requestAnimationFrame(() => more(from + CHUNK));
  };
  requestAnimationFrame(() => more(FIRST_ROWS));
  if (!found.length) body.replaceChildren(el("tr", {}, el("td", { colspan: COLUMNS.length, class: "muted",
    text: units.length ? "No exposure matches." : "No exposure has arrived." })));
  place("shown").textContent = found.length === units.length ? plural(units.length, "exposure") : `${found.length} of ${plural(units.length, "exposure")}`;
  document.documentElement.dataset.nightShown = String(found.length);
}

function showCounts() {
  const counts = {};
  for (const u of units) counts[statusOf(u)] = (counts[statusOf(u)] || 0) + 1;
  fill(place("counts"), Object.entries(counts).sort((a, b) => RANK[b[0]] - RANK[a[0]]).map(([status, n]) => {
    const word = status === "running" ? `${n} being judged` : `${n} ${status}`;
    const button = el("button", { type: "button", class: "filter small", "aria-pressed": String(wanted.statuses.has(status)) },
      badge(status, { text: word, small: true }));
    button.addEventListener("click", () => { wanted.statuses.has(status) ? wanted.statuses.delete(status) : wanted.statuses.add(status);
      showCounts(); show(); });
    return button;
  }));
  const flavors = [...new Set(units.map((u) => u.flavor).filter(Boolean))].sort();
  fill(place("flavor"), el("option", { value: "", text: "all" }), flavors.map((f) => el("option",
    { value: f, text: f, selected: f === wanted.flavor })));
}

// ---- what is fetched

async function load() {
  const wantedNight = night, rows = wantedNight ? api(`/nights/${Number(wantedNight)}`, { tag }) : null;
  const [said, listed] = await Promise.all([about(), api("/nights", { tag }), rows]);
  info = said;
  nights = listed.nights;
  if (following && nights.length) night = nights[0].night;   // a page that stays open goes on with the next night
  if (night !== wantedNight) { rowsByUnit.clear(); units = []; }
  const options = nights.map((n) => el("option", { value: n.night, text: `${n.night} · ${plural(n.exposures, "exposure")}`, selected: n.night === night }));
  if (night && !nights.some((n) => n.night === night)) options.unshift(el("option", { value: night, text: night, selected: true }));
  fill(place("night"), options);
  place("tag-label").hidden = info.tags.length < 2;
  fill(place("tag"), info.tags.map((t) => el("option", { value: t, text: t, selected: t === (tag || info.tag) })));
  if (night) units = (await (night === wantedNight ? rows : api(`/nights/${Number(night)}`, { tag }))).units;
  for (const u of units) {
    u.text = JSON.stringify(u);
    u.search = [u.expid, u.flavor, u.program, u.decision, u.why, statusOf(u), u.file, ...Object.values(u.tags), ...u.reasons].join(" ").toLowerCase();
  }
  showCounts();
  show();
  await showSession();
  loadedMs = Date.now();
}

let loadedMs = 0;
const first = load().catch(() => {});   // at once; the stream of events tells later what has changed
const soon = coalesce(load, 250);
const refresh = paced(soon, 2000);   // a night with all its cameras is not fetched for each of them

async function showSession() {
  const { state } = await api("/state", { units: 0 });
  const session = state.session;
  place("session").hidden = !session;
  if (!session) return;
  place("session-title").textContent = `Session ${session.name}${session.over ? " (over)" : ""}`;
  place("session-about").textContent = [session.label, `run ${session.run}`,
    session.exposure_s ? `about ${Math.round(session.exposure_s / 60)} min of exposures are still to come` : "",
    session.trouble].filter(Boolean).join(" · ");
  fill(place("tests"), session.tests.map((t) => el("tr", {},
    el("th", { scope: "row", text: t.name }), el("td", { text: t.subtask ? `${t.state}: ${t.subtask}` : t.state }),
      el("td", {}, t.status ? badge(t.status, { small: true }) : "–"),
    el("td", { class: "mono", text: t.exposures || "–" }), el("td", {}, el("progress",
      { max: Math.max(t.expected, 1), value: t.judged, "aria-label": `${t.name}: ${t.judged} of ${t.expected} judged` }),
      ` ${t.seen} of ${t.expected} here, ${t.judged} judged`),
    el("td", { text: t.flags.join(", ") || (t.aborted ? `aborted: ${t.aborted}` : "–") }),
      el("td", {}, t.closes && t.state !== "done" ? age(t.closes) : "–"))));
}

// ---- keys

function choose(unit, move = true) {
  const rows = [...place("rows").querySelectorAll("tr[data-unit]")];
  for (const row of rows) row.removeAttribute("aria-selected");
  const row = rows.find((r) => r.dataset.unit === unit);
  if (!row) return;
  chosen = unit;
  row.setAttribute("aria-selected", "true");
  if (move) { row.scrollIntoView({ block: "nearest" }); announce(row.cells[0].textContent + ", " + row.cells[1].textContent); }
}

function step(by) {
  const rows = [...place("rows").querySelectorAll("tr[data-unit]")];
  if (!rows.length) return;
  const at = rows.findIndex((r) => r.dataset.unit === chosen);
  choose(rows[Math.min(Math.max(at < 0 ? 0 : at + by, 0), rows.length - 1)].dataset.unit);
}

function otherNight(by) {
  const at = nights.findIndex((n) => n.night === night);
  const other = nights[at + by];
  if (other) go(other.night, tag);
}

function go(toNight, toTag) {
  night = toNight;
  following = !night || night === nights[0]?.night;
  tag = toTag;
  rowsByUnit.clear();
  units = [];
  history.replaceState(null, "", `?${new URLSearchParams({ ...(following ? {} : { night }), ...(tag ? { tag } : {}) })}`);
  soon();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (typing) return;
  const acts = { "/": () => place("find").focus(), j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    "[": () => otherNight(1), "]": () => otherNight(-1) };
  if (event.key === "Enter" && chosen && !event.target.closest?.("a, button")) location.href = unitPath(chosen, { tag });
  else if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
place("rows").addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-unit]");
  if (row && !event.target.closest("a")) { choose(row.dataset.unit, false); location.href = unitPath(row.dataset.unit, { tag }); }
});
place("find").value = wanted.text;
place("find").addEventListener("input", () => { wanted.text = place("find").value; show(); });
place("flavor").addEventListener("change", () => { wanted.flavor = place("flavor").value; show(); });
place("night").addEventListener("change", () => go(place("night").value, tag));
place("tag").addEventListener("change", () => go("", place("tag").value));
place("earlier").addEventListener("click", () => otherNight(1));
place("later").addEventListener("click", () => otherNight(-1));

addEventListener("resize", () => { if (info) head(cameras()); });

live.onSync(async () => { await first; if (Date.now() - loadedMs > 3000) await load(); });
for (const kind of ["seen", "verdict", "unit_verdict", "decision", "failed", "override", "session", "test"]) live.on(kind,
  ["seen", "unit_verdict"].includes(kind) ? soon : refresh);
