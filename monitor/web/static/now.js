// Page Now: the latest exposure, what is at work, alarms, and how old all of it is. Follows the events; nothing is loaded anew.
import { about, age, announce, api, badge, brief, coalesce, el, every, fill, live, noAlarm, plural, prefs, severityStatus, span, unitLink, unitPath } from "/static/app.js";
import { byHand, cameraGrid, cameraWords, decisionWord, foundOut, paced, receiptView } from "/static/parts.js";

const place = (id) => document.getElementById(id);
let shownUnit = "", alarmsSounded = null;

let latest = null, dirty = true;   // the exposure that is shown, and whether something was said of it since

async function load() {
  const [info, now] = await Promise.all([about(), api("/state", { units: 13 })]);
  const newest = latestOf(now.state.units);
  if (newest && (dirty || newest.unit !== latest?.unit || newest.revision !== latest.revision)) {
    dirty = false;
    const [night, expid] = newest.unit.split("/");
    latest = await api(`/exposures/${night}/${Number(expid)}`);
    showLatest(info, latest);
  }
  showWork(now.state);
  showAlarms(now.alarms, now.mutes);
  showAges(now.state, latest, now.last_event);
  showBefore(now.state.units.filter((u) => u.unit !== newest?.unit));
}

const soon = coalesce(load, 250);
const later = paced(soon, 1500);   // what comes many times a second is not fetched as often

function latestOf(units) {
  return units.reduce((best, u) => (!best || u.seen > best.seen ? u : best), null);
}

function showLatest(info, e) {
  const status = e.verdict?.status;
  const title = el("p", { class: "title" },
    el("a", { href: unitPath(e.unit), text: `${e.expid}` }),
    status ? badge(status) : badge("running", { text: "being judged" }), byHand(e.verdict),
    el("span", { class: "muted", text: [e.tags.flavor, e.tags.program, e.tags.exptime ? `${e.tags.exptime} s` : "",
      `night ${e.night}`].filter(Boolean).join(" · ") }),
    el("span", { class: "muted" }, "arrived ", age(e.seen_time)));
  const done = Object.values(e.parts).filter((p) => p.status).length;
  const expected = e.expected.length || Object.keys(e.parts).length;
  const cameras = [...new Set([...(e.expected.length ? e.expected : info.cameras), ...Object.keys(e.parts)])];
  const grid = cameraGrid(cameras, info.groups, (c) => ({ ...cameraWords(e.parts[c], true), href: unitPath(e.unit, { camera: c }) }));
  fill(place("latest"), title, foundOut(e),
    el("h3", { text: `Cameras: ${done} of ${expected} judged, with QAs measured of expected` }), grid);
  fill(place("receipt"), receiptView(e.receipt, cameras.filter((c) => e.parts[c])));
  const what = `${e.unit} ${e.revision} ${status || ""}`;
  if (what === shownUnit) return;
  if (shownUnit) {
    announce(status ? `Exposure ${e.expid}: ${status}, ${decisionWord(e.decision?.decision)}` : `Exposure ${e.expid} has arrived`);
    const card = document.querySelector(".latest");
    card.classList.remove("fresh");
    requestAnimationFrame(() => card.classList.add("fresh"));
    if (status === "ALARM") beep();
  }
  shownUnit = what;
}

function showWork(state) {
  const queue = state.queue, session = state.session;
  const chips = ["open", "running", "failed", "done"].filter((k) => queue[k]).map((k) => badge(k,
    { text: `${queue[k]} ${{ open: "waiting", running: "at work", failed: "failed", done: "done" }[k]}`, small: true }));
  const parts = [el("div", { class: "chips" }, chips.length ? chips : el("span", { class: "muted", text: "Nothing has come yet." }))];
  if (state.running.length) parts.push(el("p",
    { text: `Now: ${state.running.slice(0, 8).join(", ")}${state.running.length > 8 ? ` and ${state.running.length - 8} more` : ""}` }));
  if (state.progress !== null && state.exposures) {
    const percent = Math.round(100 * state.progress);
    parts.push(el("p", { class: "hint", text: `Night ${state.night}: ${state.concluded} of ${state.exposures} exposures judged, ${percent} % of the cameras${state.remaining_s ? `, about ${span(state.remaining_s)} left` : ""}` }),
      el("progress", { max: 100, value: percent, "aria-label": "cameras of the night that are done" }));
  }
  parts.push(el("div", { class: "chips" }, Object.entries(state.statuses).map(([s, n]) => badge(s, { text: `${n} ${s}`, small: true }))));
  if (state.heartbeat?.arriving) parts.push(el("p", { text: `${state.heartbeat.arriving} files are arriving.` }));
  for (const trouble of [state.heartbeat?.raw_trouble, state.heartbeat?.work_trouble].filter(Boolean)) parts.push(el("p", {},
    badge("WARNING", { small: true }), " ", trouble));
  if (session && !session.over) {
    const next = session.tests.find((t) => t.state !== "done" && t.state !== "closed");
    const done = session.tests.filter((t) => t.state === "done" || t.state === "closed").length;
    parts.push(el("p", {}, `Session ${session.name}: ${done} of ${session.tests.length} tests done${next ? `; now ${next.name}, ${next.seen} of ${next.expected} exposures` : ""}. `, el("a", { href: "/night", text: "All tests" })));
  }
  fill(place("work"), parts);
}

function showAlarms(alarms, mutes) {
  const all = alarms.filter((a) => !["resolved", "normal"].includes(String(a.state).toLowerCase())), open = all.filter((a) => !a.folded);
  const items = open.slice(0, 6).map((a) => {
    const text = a.what || a.summary || a.text || a.key;
    return el("li", {}, badge(severityStatus(a.severity), { small: true, text: String(a.state).toLowerCase() }), " ",
      text);
  });
  const more = [open.length > 6 ? `${open.length - 6} more` : "", all.length > open.length ? `${all.length - open.length} folded into them` : "", mutes.length ? `${mutes.length} muted` : ""].filter(Boolean).join(", ");
  fill(place("alarms"), items.length ? el("ul", {}, items) : noAlarm(),
    el("p", {}, el("a", { href: "/alarms", text: "All alarms" }), more ? ` (${more})` : ""));
  const firing = new Set(open.filter((a) => String(a.state).toLowerCase() === "firing").map((a) => a.key));
  if (alarmsSounded && [...firing].some((key) => !alarmsSounded.has(key))) beep();
  alarmsSounded = firing;
}

function showAges(state, exposure, lastEvent) {
  const sinks = Object.entries(state.heartbeat?.sinks || {}).filter(([, n]) => n > 0).map(([name, n]) => `${name} ${n} behind`).join(", ");
  const rows = [
    ["Sign of life", age(state.heartbeat_time)], ["Last event", age(lastEvent)], ["Last exposure", age(exposure?.seen_time)],
      ["Its verdict", exposure?.verdict_time ? age(exposure.verdict_time) : "not yet"],
    ["Events", `${sinks || (state.heartbeat ? "all delivered" : "not known")}${state.heartbeat && live.state !== "live" ? " at the last sign of life" : ""}`],
  ];
  const latency = state.heartbeat?.latency_s;
  if (latency?.n) rows.push(["To the verdict", `median ${brief(latency.median)}, p95 ${brief(latency.p95)} over ${plural(latency.n, "exposure")}`]);
  fill(place("ages"), rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", {}, value)]));
}

function showBefore(units) {
  const rows = units.sort((a, b) => b.seen - a.seen).slice(0, 12).map((u) => el("tr", {},
    el("td", {}, unitLink(u.unit)), el("td", { text: u.flavor }), el("td", {},
      u.status ? badge(u.status, { small: true }) : badge("running", { text: "being judged", small: true })),
    el("td", { text: u.decision ? decisionWord(u.decision) : "" }), el("td", { class: "why", text: u.reasons[0] || "" }), el("td", {}, age(u.seen))));
  fill(place("before"), rows.length ? rows : el("tr", {}, el("td", { colspan: 6, class: "muted", text: "nothing" })));
}

// ---- the sound: made here, no file; a browser plays it after the page was clicked once

const sound = place("sound");
let audio = null;
sound.checked = prefs.get("sound", false);
sound.addEventListener("change", () => { prefs.set("sound", sound.checked); if (sound.checked) beep(); });

function beep() {
  if (!sound.checked) return;
  audio ??= new AudioContext();
  for (const [start, pitch] of [[0, 880], [0.22, 660], [0.44, 880]]) {
    const tone = audio.createOscillator(), volume = audio.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.2, audio.currentTime + start);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + start + 0.2);
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + start);
    tone.stop(audio.currentTime + start + 0.21);
  }
}

soon();
live.onSync(() => { dirty = true; soon(); });
live.on("*", (event) => { if (event.kind === "seen" || event.unit === latest?.unit) dirty = true; });
for (const kind of ["seen", "unit_verdict", "decision", "receipt", "override", "alarm", "mutes"]) live.on(kind, soon);
for (const kind of ["started", "verdict", "failed", "session", "disk", "raw_folder", "heartbeat"]) live.on(kind, later);
live.onState(soon);
every(30, soon);
