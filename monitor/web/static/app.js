// What all pages share: the API, the stream of events, staleness, badges, ages, dialogs. Data become text, never HTML.

const API = "/api/v1";
const STALE_S = 14;   // a daemon gives a sign of life every 5 s

// ---- small helpers

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [kind, fn] of Object.entries(value)) node.addEventListener(kind, fn);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const prefs = {
  get(name, otherwise = null) {
    try {
      const text = localStorage.getItem(`quicklook.${name}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch { return otherwise; }
  },
  set(name, value) {
    try { localStorage.setItem(`quicklook.${name}`, JSON.stringify(value)); } catch { /* storage is switched off */ }
  },
};

const failing = new Map();   // what could not be fetched anew, and why: what is shown of it is old, though events come
const AGAIN_MS = 5000;

// Runs `fn` soon after it is called, once for calls that come together, and no more often than every `ms` (600 at least: many pages may be open;
// a page that nobody looks at does with less). Where the server refuses, it is told above the page and tried again.
export function coalesce(fn, ms = 600) {
  let timer = null, again = false, busy = false, last = -Infinity;
  const go = async () => {
    timer = null;
    if (busy) { again = true; return; }
    busy = true;
    last = performance.now();
    try {
      await fn();
      failing.delete(fn);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) failing.delete(fn);   // not there yet: no fault
      else failing.set(fn, error.message);
      if (failing.has(fn) && error.status !== 401) timer ??= setTimeout(go, AGAIN_MS);   // nobody is asked for the token again and again
    } finally {
      busy = false;
      if (again && timer === null) timer = setTimeout(go, wait());
      again = false;
    }
  };
  const wait = () => Math.max(40, last + (document.hidden ? 3000 : Math.max(600, ms)) - performance.now());
  return () => { if (timer === null) timer = setTimeout(go, wait()); };
}

export function every(seconds, fn) { return setInterval(fn, 1000 * seconds); }

export function announce(text) {
  const place = document.getElementById("announce");
  place.textContent = "";
  setTimeout(() => { place.textContent = text; }, 50);
}

export function toast(text, kind = "") {
  const note = el("div", { class: `toast ${kind}`, text });
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), kind === "bad" ? 12000 : 6000);
}

// ---- words, numbers, times

const SHAPES = {
  NORMAL: "●", WARNING: "▲", ALARM: "✖", UNKNOWN: "◆", PENDING: "◔", VIOLATING: "✖", STALE: "◌", OFF: "–", INFO: "●",
  open: "·", running: "▸", failed: "◆", done: "·", ignored: "–", missing: "?",
};

export function shape(status) { return SHAPES[status] || "–"; }

export function badge(status, { text = null, small = false } = {}) {
  const word = text || status || "no status";
  return el("span", { class: `st st-${status || "none"}${small ? " small" : ""}` },
    el("span", { class: "shape", "aria-hidden": "true", text: shape(status) }), el("span", { class: "word", text: word }));
}

/** How an alarm of a severity is shown: one that is only listed says nothing of good or bad. */
export function severityStatus(severity) { return { CRITICAL: "ALARM", ALARM: "ALARM", WARNING: "WARNING" }[severity] || "INFO"; }

/** A table; on a phone each row is a block whose cells say what they are. `head`: texts, or {text, css, row: it names its row}; rows: what is in their cells. */
export function stack(head, rows) {
  const columns = head.map((column) => (typeof column === "string" ? { text: column } : column));
  const cellOf = (inner, { text, css, row }) => el(row ? "th" : "td", { class: css, scope: row ? "row" : null, data: { of: text } }, el("div", {}, inner));
  return el("table", { class: "stack" }, el("thead", {}, el("tr", {}, columns.map((c) => el("th", { scope: "col", class: c.css === "n" ? "n" : null, text: c.text })))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((inner, i) => cellOf(inner, columns[i]))))));
}

export function cell(status, about = "") {
  const word = `${about ? `${about}: ` : ""}${status || "no status"}`;
  const node = document.createElement("span");   // there are thousands of them in a night
  node.className = `st cell st-${status || "none"}`;
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", word);
  node.title = word;
  node.textContent = shape(status);
  return node;
}

export function number(value, unit = "", digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not measured";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e6 || size < 1e-3)
    ? value.toExponential(digits - 1).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(digits)));
  return unit ? `${text} ${unit}` : text;
}

let clockOffsetMs = 0;   // of this server, against this browser

export function nowMs() { return Date.now() + clockOffsetMs; }

export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** A short time, with decimals; a long one in minutes or hours. */
export function brief(seconds, digits = 1) { return seconds < 600 ? `${seconds.toFixed(digits)} s` : span(seconds); }

export function plural(n, word) { return `${n} ${word}${n === 1 ? "" : "s"}`; }

export function when(ns, { date = false } = {}) {
  if (!ns) return "–";
  const text = new Date(ns / 1e6).toISOString();
  return date ? `${text.slice(0, 10)} ${text.slice(11, 19)}` : text.slice(11, 19);
}

export function age(ns, { suffix = " ago", empty = "never" } = {}) {
  const node = el("time", { class: "age", data: { suffix } });
  if (!ns) { node.textContent = empty; return node; }
  node.dateTime = new Date(ns / 1e6).toISOString();
  node.title = `${when(ns, { date: true })} UTC`;
  node.dataset.ns = String(ns);
  tick(node);
  return node;
}

function tick(node) {
  const s = nowMs() / 1000 - Number(node.dataset.ns) / 1e9;
  const text = s < 0 && s > -60 ? `0 s${node.dataset.suffix}` : s < 0 ? `in ${span(-s)}` : `${span(s)}${node.dataset.suffix}`;
  if (node.textContent !== text) node.textContent = text;
}

setInterval(() => document.querySelectorAll("time.age[data-ns]").forEach(tick), 1000);

export function unitPath(unit, extra = {}) {
  const [night, expid] = unit.split("/");
  const query = new URLSearchParams(Object.entries(extra).filter(([, v]) => v !== null && v !== undefined && v !== ""));
  return `/exposure/${night}/${Number(expid)}${query.size ? `?${query}` : ""}`;
}

export function unitLink(unit, text = null, extra = {}) {
  const [, expid] = unit.split("/");
  return el("a", { href: unitPath(unit, extra), text: text ?? String(Number(expid)) });
}

// ---- the API

export class ApiError extends Error {
  constructor(status, said) {
    super(said.message || `the server answers ${status}`);
    this.status = status;
    this.error = said.error || "";
    this.what_next = said.what_next || "";
  }
}

const person = {
  get token() { try { return sessionStorage.getItem("quicklook.token") || ""; } catch { return ""; } },
  set token(text) { try { sessionStorage.setItem("quicklook.token", text); } catch { /* kept nowhere */ } },
  get name() { return prefs.get("name", ""); },
  set name(text) { prefs.set("name", text); },
};

function headers(more = {}) {
  return person.token ? { ...more, Authorization: `Bearer ${person.token}` } : more;
}

async function fetched(path, params, options = {}) {
  const query = new URLSearchParams(Object.entries(params || {}).filter(([, v]) => v !== null && v !== undefined && v !== ""));
  const url = `${API}${path}${query.size ? `?${query}` : ""}`;
  let answer;
  try {
    answer = await fetch(url, { ...options, headers: headers(options.headers), cache: options.method ? "no-store" : "default", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "the server of this page does not answer", error: "Transient" });
  }
  if (answer.ok) return answer;
  let said = {};
  try { said = await answer.json(); } catch { /* no JSON */ }
  throw new ApiError(answer.status, said);
}

export async function api(path, params = {}, { signal = undefined } = {}) {
  try {
    return await (await fetched(path, params, { signal })).json();
  } catch (error) {
    if (error.status === 401 && await signIn(error.message)) return (await fetched(path, params, { signal })).json();
    throw error;
  }
}

export async function blobUrl(path, params = {}) {
  return URL.createObjectURL(await (await fetched(path, params)).blob());
}

let asking = null;

export function signIn(why = "") {
  asking = asking || new Promise((resolve) => {
    const dialog = document.getElementById("token-dialog");
    document.getElementById("token-why").textContent = why ? `${why}.` : "Actions need the token of the daemon.";
    const name = document.getElementById("token-name"), text = document.getElementById("token-text");
    name.value = person.name;
    text.value = "";
    dialog.returnValue = "cancel";
    dialog.addEventListener("close", async () => {
      asking = null;
      const ok = dialog.returnValue === "ok" && text.value.trim() !== "";
      if (ok) { person.token = text.value.trim(); }
      if (dialog.returnValue === "ok") person.name = name.value.trim();
      text.value = "";
      showPerson();
      resolve(ok);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

function showPerson() {
  const button = document.getElementById("person");
  button.textContent = person.token ? (person.name || "somebody") : "sign in";
}

export async function act(command, args, { quiet = false } = {}) {
  if ((!person.token || !person.name) && !(await signIn())) return null;
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const body = JSON.stringify({ args, by: person.name || "somebody" });
      const answer = await (await fetched(`/actions/${command}`, {}, { method: "POST", body, headers: { "Content-Type": "application/json" } })).json();
      if (!quiet) toast(answer.said, "good");
      return answer;
    } catch (error) {
      if (error.status === 401 && attempt === 0) {
        person.token = "";
        if (await signIn(error.message)) continue;
        return null;
      }
      toast(`${error.message}${error.what_next ? ` — ${error.what_next}` : ""}`, "bad");
      return null;
    }
  }
  return null;
}

// A small form before an action: fields are [{name, label, value, type, options, min, required}]; answers an object, or null.
export function ask(title, fields, { ok = "Do it" } = {}) {
  const dialog = document.getElementById("ask-dialog");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-ok").textContent = ok;
  const made = fields.map((f) => {
    const input = f.options
      ? el("select", { name: f.name }, f.options.map((o) => el("option", { value: o, text: o, selected: o === f.value })))
      : el("input", { name: f.name, type: f.type || "text", value: f.value ?? "", min: f.min, required: f.required !== false, maxlength: 500 });
    return el("label", {}, f.label, " ", input);
  });
  fill(document.getElementById("ask-fields"), made);
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "ok") return resolve(null);
    const out = {};
    for (const input of dialog.querySelectorAll("#ask-fields [name]")) out[input.name] = input.value.trim();
    return resolve(out);
  }, { once: true }));
}

// ---- the stream of events

const heard = new Map();
const onSyncs = [], onStates = [];

export const live = {
  state: "offline", seq: 0, epoch: "", heartbeatNs: 0, lives: null, watched: null, lastHeardMs: 0,
  on(kind, fn) { heard.set(kind, [...(heard.get(kind) || []), fn]); },
  onSync(fn) {
    const again = coalesce(fn), anew = async () => { if (!(await run(fn))) again(); };
    onSyncs.push(anew);
    if (live.synced) anew();
  },
  onState(fn) { onStates.push(fn); },
  synced: false,
};

/** Whether it was done; what the server refuses is told. */
async function run(fn, ...given) {
  try { await fn(...given); } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
    return false;
  }
  return true;
}

async function sync() {
  const now = await api("/state", { units: 0 });
  clockOffsetMs = now.server_time / 1e6 - Date.now();
  live.seq = now.state.seq;
  live.epoch = now.state.epoch;
  live.lives = now.lives;
  live.heartbeatNs = now.state.heartbeat_time || 0;
  noteSinks(now.state.heartbeat);
  showAlarms(now.alarms, now.mutes);
  live.synced = true;
  await Promise.all(onSyncs.map((anew) => anew()));
}

function tell(event) {
  live.seq = Math.max(live.seq, event.seq);
  if (event.kind === "heartbeat") {
    live.heartbeatNs = event.time;
    live.lives = true;
    noteSinks(event.payload);
  }
  if (event.kind === "alarm" || event.kind === "mutes") refreshAlarms();
  for (const fn of [...(heard.get(event.kind) || []), ...(heard.get("*") || [])]) run(fn, event);
}

class Reset extends Error {}

function take(block) {
  let kind = "message", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (!data) return;
  const said = JSON.parse(data);
  if (kind === "message") tell(said);
  else if (kind === "reset") throw new Reset(said.reason);
  else {
    clockOffsetMs = said.server_time / 1e6 - Date.now();
    if (live.epoch && said.epoch && said.epoch !== live.epoch) throw new Reset("another journal");
  }
}

async function listen() {
  const stop = new AbortController();
  const watchdog = setInterval(() => { if (Date.now() - live.lastHeardMs > 13000) stop.abort(); }, 1000);
  live.lastHeardMs = Date.now();
  try {
    const answer = await fetched("/stream", { after: live.seq, epoch: live.epoch }, { signal: stop.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    live.connected = true;
    judge();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      live.lastHeardMs = Date.now();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(take);
    }
  } finally {
    clearInterval(watchdog);
    live.connected = false;
    stop.abort();
  }
}

async function follow() {
  let fresh = true, pause = 300;
  for (;;) {
    try {
      if (fresh) { await sync(); fresh = false; }
      judge();
      pause = 300;
      await listen();
    } catch (error) {
      if (error instanceof Reset) fresh = true;
      else if (error.status === 401) { if (!(await signIn(error.message))) pause = 15000; }
      else if (error.status === 404 || error.status === 503) { live.waiting = error.message; fresh = true; pause = 1500; }
      else if (!(error instanceof ApiError || error.name === "AbortError" || error instanceof TypeError)) console.error(error);
      live.connected = false;
    }
    judge();
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.5, 2000);
  }
}

// ---- is what is shown still true?

let lostSince = 0;

function judge() {
  const silent = live.heartbeatNs ? nowMs() / 1000 - live.heartbeatNs / 1e9 : Infinity;
  if (live.connected) lostSince = 0;
  else lostSince = lostSince || Date.now();
  const state = !live.connected && Date.now() - lostSince > 2500 ? "offline" : silent > STALE_S ? "stale" : live.connected ? "live" : live.state;
  const banner = document.getElementById("stale"), link = document.getElementById("link"), refused = [...failing.values()][0];
  let text = refused ? `STALE: what is shown could not be renewed: ${refused}` : "";
  if (state !== "live") {
    const seen = live.heartbeatNs ? `last sign of life of the daemon ${span(silent)} ago` : live.waiting || "no daemon has given a sign of life here";
    const why = state === "offline" ? "no connection to the server of this page" : "the daemon is silent";
    text = `STALE: ${why}; ${seen}. What is shown may have changed.`;
  }
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
  if (state === live.state && link.textContent) return;
  live.state = state;
  document.documentElement.dataset.link = state;
  fill(link, badge(state === "live" ? "NORMAL" : "STALE", { text: state === "live" ? "live" : state, small: true }));
  for (const fn of onStates) run(fn, state);
}

setInterval(judge, 1000);

// ---- what stands above every page: instrument, alarms

// whether anybody watches: a site without the sink `alarms` raises none, and that none stands means nothing; null: not known
function noteSinks(heartbeat) {
  const watched = heartbeat ? "alarms" in (heartbeat.sinks || {}) : null;
  if (watched === null || watched === live.watched) return;
  live.watched = watched;
  if (!live.synced) return;
  showAlarms(live.alarms, live.mutes);
  for (const fn of heard.get("watched") || []) run(fn);
}

export function noAlarm() {
  if (live.watched === false) return el("p", {}, badge("UNKNOWN", { small: true, text: "nobody watches" }), " This daemon has no sink ",
    el("code", { text: "alarms" }), ": none is raised, whatever happens. Name it in the site.");
  const text = live.watched === null ? "Whether somebody watches is not known." : live.state === "live" ? "No alarm stands." : "No alarm was standing when this was last heard of.";
  return el("p", { class: "muted", text });
}

function showAlarms(alarms, mutes) {
  live.alarms = alarms;
  live.mutes = mutes;
  const open = alarms.filter((a) => a.state === "firing" && !a.folded).length, count = document.getElementById("alarm-count");
  const words = [open ? `${open}` : "", mutes.length ? `${mutes.length} muted` : "", live.watched === false ? "nobody watches" : ""].filter(Boolean).join(", ");
  count.hidden = !words;
  count.textContent = words;
  count.classList.toggle("alarming", open > 0);
  document.title = `${open ? `(${open}) ` : ""}${document.title.replace(/^\(\d+\) /, "")}`;
}

const refreshAlarms = coalesce(async () => {
  const { now, mutes } = await api("/alarms", { past: 0 });
  showAlarms(now, mutes);
});

async function showAbout() {
  const about = await api("/about");
  live.about = about;
  document.getElementById("what").textContent = about.instrument;
  return about;
}

let aboutPromise = null;
export function about() {
  aboutPromise ??= showAbout().catch((error) => { aboutPromise = null; throw error; });   // asked again: not refused for ever
  return aboutPromise;
}

// ---- keys and the theme

document.getElementById("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  prefs.set("theme", document.documentElement.dataset.theme);
  document.dispatchEvent(new CustomEvent("quicklook:theme"));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("quicklook:theme")));
document.getElementById("person").addEventListener("click", () => signIn());

let goKey = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, dialog")) return;
  if (event.key === "g") { goKey = Date.now(); return; }
  if (Date.now() - goKey < 1500) {
    const target = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    if (target) { event.preventDefault(); target.click(); }
    goKey = 0;
  }
});

showPerson();
live.on("seen", () => { if (live.about && !Object.keys(live.about.groups).length) aboutPromise = null; });   // cameras that nobody has announced come with their exposures
live.onSync(() => about());
follow();
