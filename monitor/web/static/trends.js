// Page Trends: one metric or channel over time, or two with an axis each; limits as bands, events marked, points lead to their exposures.
import { about, api, coalesce, el, fill, live, unitPath, when } from "/static/app.js";
import { drawNow, keeping, panelElement, purge } from "/static/plot.js";

const place = (id) => document.getElementById(id);
const FIELDS = { first: "first", first_where: "first-where", second: "second", second_where: "second-where", since: "since", until: "until",
  tag: "tag" };
let names = null, info = null, shown = null, asking = 0;

/** metric:NAME or hk:CHANNEL of what is written in a field. */
function series(text) {
  const plain = text.trim();
  if (!plain || /^(metric|hk):/.test(plain)) return plain;
  return names.channels.includes(plain) && !names.metrics.some((m) => m.name === plain) ? `hk:${plain}` : `metric:${plain}`;
}

function asked() {
  const out = {};
  for (const [name, id] of Object.entries(FIELDS)) {
    const value = place(id).value.trim();
    if (value) out[name] = ["first", "second"].includes(name) ? series(value) : value;
  }
  if (out.tag === info.tag) delete out.tag;
  return out;
}

async function prepare() {
  info = await about();
  if (names) return;
  names = await api("/metrics");
  fill(place("names"), names.metrics.map((m) => el("option", { value: m.name,
    label: `${m.unit ? `[${m.unit}] ` : ""}${m.dims.length ? `by ${m.dims.join(", ")}` : ""}` })),
    names.channels.map((c) => el("option", { value: c, label: "housekeeping" })));
  fill(place("tag"), info.tags.map((t) => el("option", { value: t, text: t })));
  const query = new URLSearchParams(location.search);
  for (const [name, id] of Object.entries(FIELDS)) place(id).value = (query.get(name) || (name === "tag" ? info.tag : "")).replace(/^(metric|hk):/,
    ["first", "second"].includes(name) ? "" : "$1:");
  if (!place("first").value && names.metrics.some((m) => m.name === "read_noise")) place("first").value = "read_noise";
  describe();
}

function describe() {
  const lines = ["first", "second"].map((id) => names.metrics.find((m) => m.name === place(id).value.trim())).filter(Boolean)
    .map((m) => `${m.name}${m.unit ? ` [${m.unit}]` : ""}${m.dims.length ? `, by ${m.dims.join(", ")}` : ""}: ${m.doc}`);
  place("about").textContent = [...new Set(lines)].join(" · ")
    || `${names.metrics.length} metrics and ${names.channels.length} channels of housekeeping have a history.`;
}

async function show() {
  await prepare();
  const wanted = asked();
  if (!wanted.first) return;
  history.replaceState(null, "", `?${new URLSearchParams(wanted)}`);
  describe();
  const mine = ++asking;   // an answer that comes late must not take the place of a later one
  let said;
  try {
    said = await api("/trends", wanted);
  } catch (error) {
    if (mine !== asking) return;
    purge(place("plot"));
    fill(place("plot"), el("p", { text: error.message }), error.what_next ? el("p", { class: "muted", text: error.what_next }) : null);
    place("said").textContent = "";
    shown = null;
    return;
  }
  if (mine !== asking) return;
  const text = JSON.stringify(said);
  if (text === shown) return;
  shown = text;
  const panel = { ...said.panel, keep: keeping(JSON.stringify(wanted)), height: Math.max(320, Math.min(560, innerHeight * 0.55)) };
  if (place("events").checked && panel.data) mark(panel, said.events);
  purge(place("plot"));
  const figure = panelElement(panel);
  fill(place("plot"), figure);
  const opens = panel.data?.some((trace) => trace.customdata) ? " A click on a point opens its exposure." : "";
  place("said").textContent = `${said.rows.join(" and ")} values.${opens}`;
  place("events-card").hidden = !said.events.length;
  fill(place("events-rows"), [...said.events].reverse().map((e) => el("tr", {}, el("td", { text: `${when(e.time, { date: true })} UTC` }),
    el("td", { text: e.kind.replaceAll("_", " ") }), el("td", { text: e.text }))));
  const target = await drawNow(figure);
  if (!target) return;
  target.on("plotly_click", (event) => {
    const unit = event.points[0]?.customdata?.[0];
    if (/^\d+\/\d+$/.test(unit || "")) location.href = unitPath(unit, { tag: wanted.tag, camera: event.points[0].customdata[2] });
  });
}

/** Events as dotted lines across the plot, with a mark at the top that says what it was. */
function mark(panel, events) {
  if (!events.length) return;
  panel.layout.shapes.push(...events.map((e) => ({ type: "line", xref: "x", yref: "y domain", x0: e.time / 1e6, x1: e.time / 1e6, y0: 0, y1: 1,
    line: { color: "#5c5c5c", width: 1, dash: "dot" }, layer: "below" })));
  panel.layout.yaxis3 = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };
  panel.data.push({
    type: "scatter", mode: "markers", x: events.map((e) => e.time / 1e6), y: events.map(() => 0.985), yaxis: "y3", showlegend: false,
      text: events.map((e) => e.text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("%", "&#37;")),
    hovertemplate: "%{text}<br>%{x|%Y-%m-%d %H:%M:%S}<extra></extra>", marker: { symbol: "triangle-down", size: 10, color: "#5c5c5c" } });
  panel.legend = [...panel.legend, { text: "event", mark: "triangle-down", colour: "#5c5c5c", traces: [panel.data.length - 1] }];
}

const refresh = coalesce(show, 3000);
place("form").addEventListener("submit", (event) => { event.preventDefault(); show(); });
for (const id of ["first", "second"]) place(id).addEventListener("change", () => { if (names) describe(); });
place("events").addEventListener("change", () => { shown = null; show(); });
live.onSync(show);
for (const kind of ["unit_verdict", "override", "calibration"]) live.on(kind, refresh);
