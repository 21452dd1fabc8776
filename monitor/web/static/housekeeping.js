// Page Housekeeping: every channel with its value, limits and states; what is old, or not watched any more, is STALE and never green.
import { age, api, badge, coalesce, el, every, fill, live, nowMs, number } from "/static/app.js";

const at = (id) => document.getElementById(id);
const body = document.querySelector("#channels tbody");
const CURVE_MS = 30000;   // a curve of a day needs no more than that
let channels = [], sources = [], chosen = "", drawnMs = 0;

const SVG = "http://www.w3.org/2000/svg";

// A curve of 60 bins; bands of the normal range behind it.
function spark(channel, width = 140, height = 26) {
  const values = channel.spark.filter((v) => v !== null);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", values.length ? `last hour: ${number(Math.min(...values))} to ${number(Math.max(...values))} ${channel.unit}` : "no values in the last hour");
  if (!values.length) return svg;
  let low = Math.min(...values), high = Math.max(...values);
  if (high === low) { low -= 1; high += 1; }
  const y = (v) => height - 2 - (height - 4) * ((v - low) / (high - low)), step = width / (channel.spark.length - 1);
  const range = channel.limits.find((l) => l.kind === "absolute" && l.performance)?.performance;
  if (range) {
    const band = document.createElementNS(SVG, "rect");
    const top = Math.max(0, range[1] === null ? 0 : y(range[1])), bottom = Math.min(height, range[0] === null ? height : y(range[0]));
    for (const [k, v] of Object.entries({ x: 0, width, y: top, height: Math.max(0, bottom - top), class: "band" })) band.setAttribute(k, v);
    svg.append(band);
  }
  let path = "", pen = false;
  channel.spark.forEach((v, i) => {
    if (v === null) { pen = false; return; }
    path += `${pen ? "L" : "M"}${(i * step).toFixed(1)} ${y(v).toFixed(1)}${pen ? "" : "h0.01"}`;
    pen = true;
  });
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  line.setAttribute("class", "line");
  svg.append(line);
  return svg;
}

// As the server said, and STALE as soon as its sample is too old, or nobody watches.
function stateNow(channel) {
  if (channel.state === "VIOLATING" || channel.state === "STALE") return channel.state;
  const old = channel.time === null || nowMs() / 1000 - channel.time > channel.stale_after_s + 5;
  return live.state !== "live" || old ? "STALE" : channel.state;
}

function limitState(channel, limit) { return stateNow(channel) === "STALE" && limit.state === "NORMAL" ? "STALE" : limit.state; }

function showSources() {
  const stateOf = (s) => (live.state !== "live" && s.state === "NORMAL" ? "STALE" : s.state);
  fill(at("sources"), sources.length ? el("span", { class: "muted", text: "sources:" }) : null, sources.map((s) => el("span", { title: s.said },
    badge(stateOf(s), { text: `${s.name.replace(/^source:/, "")} ${stateOf(s)}`, small: true }))));
}

function limitBadges(channel) {
  const shown = channel.limits.filter((l) => l.state !== "OFF");
  const off = channel.limits.length - shown.length;
  return [shown.map((l) => el("span", { class: "limit", title: `${l.name}: ${l.words}. ${l.reason}` },
    badge(limitState(channel, l), { text: l.name, small: true }))),
  off ? el("span", { class: "muted", text: `${off} off` }) : null, channel.limits.length ? null : el("span", { class: "muted", text: "no limit" })];
}

function row(channel) {
  const state = stateNow(channel);
  const value = channel.text || (channel.value === null ? "–" : number(channel.value, channel.unit, 5));
  return el("tr", { class: chosen === channel.name ? "chosen" : "" },
    el("td", {}, badge(state, { small: true })),
    el("td", {}, el("button", { type: "button", class: "plain", text: channel.name, "aria-expanded": String(chosen === channel.name), on: { click: () => open(channel.name) } }),
      channel.why ? el("div", { class: "muted wrap", text: channel.why }) : null),
    el("td", { class: "n", text: value }),
    el("td", {}, channel.time === null ? el("span", { class: "muted", text: "over an hour" }) : age(channel.time * 1e9, { suffix: "" })),
    el("td", {}, spark(channel)), el("td", {}, el("span", { class: "row tight" }, limitBadges(channel))));
}

function show() {
  const text = at("find").value.trim().toLowerCase(), bad = at("bad").checked;
  const chosenRows = channels.filter((c) => (!text || c.name.toLowerCase().includes(text)) && (!bad || !["NORMAL", "OFF"].includes(stateNow(c))));
  const focus = document.activeElement?.closest?.("#channels") ? document.activeElement.textContent : null;
  fill(body, chosenRows.map(row));
  if (focus) [...body.querySelectorAll("button.plain")].find((b) => b.textContent === focus)?.focus();
  at("shown").textContent = `${chosenRows.length} of ${channels.length}`;
  showSources();
  const counts = {};
  for (const c of channels) counts[stateNow(c)] = (counts[stateNow(c)] || 0) + 1;
  fill(at("summary"), Object.entries(counts).map(([s, n]) => badge(s, { text: `${n} ${s}` })),
    instrument ? el("span", { class: "muted", text: `instrument: ${instrument}` }) : null);
}

let instrument = "";

async function refreshNow() {
  const now = await api("/housekeeping");
  if (!now.configured) {
    channels = sources = [];
    fill(at("trouble"), el("p", { class: "card", text: "No housekeeping is watched here: name a configuration under `housekeeping` of the site." }));
    show();
    return;
  }
  fill(at("trouble"), now.trouble ? el("p", { class: "card", text: now.trouble }) : null,
    now.watched ? null : el("p", { class: "card" }, badge("STALE"), " the daemon gives no sign of life: nothing is watched."));
  channels = now.channels;
  instrument = now.instrument_state;
  sources = now.sources;
  show();
  if (chosen && performance.now() - drawnMs > CURVE_MS && !at("curve").contains(document.activeElement)) await curve(chosen);
}

async function open(name) {
  chosen = chosen === name ? "" : name;
  at("detail").hidden = !chosen;
  show();
  if (!chosen) return;
  const channel = channels.find((c) => c.name === name);
  at("h-detail").textContent = name;
  fill(at("limits"), el("table", {}, el("thead", {}, el("tr", {}, ["limit", "state", "range", "why it is there", "what to do", "said"].map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, channel.limits.map((l) => el("tr", {}, el("td", { text: l.name }), el("td", {}, badge(limitState(channel, l), { small: true })),
      el("td", { text: l.words + (l.states.length ? ` (when ${l.states.join(", ")})` : "") }), el("td", { class: "wrap", text: l.reason }),
      el("td", { class: "wrap", text: l.action }), el("td", { class: "wrap", text: l.said }))))));
  at("detail").scrollIntoView({ block: "nearest" });
  await curve(name);
}

async function curve(name) {
  const { keeping, panelElement, purge } = await import("/static/plot.js");
  const got = await api("/housekeeping/series", { channel: name, start: -86400, points: 1500 });
  if (chosen !== name) return;
  drawnMs = performance.now();
  const x = got.times.map((t) => new Date(t * 1000).toISOString().replace("Z", ""));
  const y = got.texts.length ? got.texts : got.values;
  const range = got.limits.find((l) => l.kind === "absolute" && l.performance)?.performance;
  const shapes = range ? [0, 1].filter((i) => range[i] !== null).map((i) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: range[i], y1: range[i], line: { dash: "dash", width: 1, color: "#8C4A8C" } })) : [];
  const unit = got.unit ? `${name} [${got.unit}]` : name;
  purge(at("curve"));
  fill(at("curve"), panelElement({
    title: "", legend: [], height: 280, keep: keeping(`housekeeping ${name}`),
    notes: got.thinned ? ["of more samples than fit, the least and the greatest of each stretch are shown"] : [],
    data: [{ type: "scatter", mode: "lines", x, y, line: { width: 1.3, shape: got.texts.length ? "hv" : "linear", color: "#0072B2" }, connectgaps: false,
      hovertemplate: "%{x|%Y-%m-%d %H:%M:%S}<br>%{y}<extra></extra>" }],
    layout: { yaxis: { title: { text: unit.replaceAll("&", "&amp;").replaceAll("<", "&lt;") } }, xaxis: { type: "date", title: { text: "time (UTC), the last day" } }, shapes,
      showlegend: false },
  }));
}

const refresh = coalesce(refreshNow, 800);
at("find").addEventListener("input", show);
at("bad").addEventListener("change", show);
at("close").addEventListener("click", () => open(chosen));
live.onSync(refreshNow);
live.on("hk", refresh);
live.onState(show);
every(10, () => { if (live.state === "live" && !document.hidden) refresh(); });
every(2, () => { if (!document.hidden && channels.some((c) => stateNow(c) !== c.state)) show(); });
