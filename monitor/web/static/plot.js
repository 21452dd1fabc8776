// Figures in the browser: what the server has laid out (monitor/web/figures.py), drawn by plotly; title, legend, notes and tables are plain HTML.
import { el } from "/static/app.js";
import { followZoom, KEYS, zoomed } from "/static/plot_zoom.js";

const SVG = "http://www.w3.org/2000/svg";
// No button that sends a plot to somebody else's server; a double click goes home by `home`.
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "sendChartToCloud", "resetScale2d"],
  plotlyServerURL: "", doubleClick: false };
const DASHES = { solid: "", dash: "6 4", dashdot: "6 3 1.5 3", dot: "1.5 3", dashed: "6 4" };
const SHAPES = {
  circle: "M8 8m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", square: "M4 4h8v8h-8z", "triangle-up": "M8 3l5 9h-10z", "triangle-down": "M8 13l5 -9h-10z",
  diamond: "M8 2.5l5 5.5l-5 5.5l-5 -5.5z", cross: "M6.5 3h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    x: "M4 2.6l4 4l4 -4l1.4 1.4l-4 4l4 4l-1.4 1.4l-4 -4l-4 4l-1.4 -1.4l4 -4l-4 -4z",
};

let loading = null;
const drawn = new Set(); // elements with a figure of plotly: they are drawn anew when the theme changes

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly could not be loaded"));
    document.head.append(script);
  });
  return loading;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name, other) => style.getPropertyValue(name).trim() || other;
  const ink = of("--ink", "#222222");
  return { ink, muted: of("--muted", "#5c5c5c"), card: of("--card", "#ffffff"), line: of("--line", "#d4d4d4"), dark: light(ink) };
}

function light(colour) {
  const hex = /^#([0-9a-f]{6})$/i.exec(colour)?.[1];
  return hex ? parseInt(hex.slice(0, 2), 16) + parseInt(hex.slice(2, 4), 16) + parseInt(hex.slice(4), 16) > 384 : false;
}

// Black and grey of the printed figure are the ink and the quiet colour of the page.
function onPage(colour, look) {
  if (!look.dark) return colour;
  return { "#000000": look.ink, "#5c5c5c": look.muted, "#0072B2": "#4BA3DB" }[colour] ?? colour;
}

function recoloured(item, look) {
  if (typeof item === "string") return onPage(item, look);
  if (Array.isArray(item)) return item.length < 3000 ? item.map((v) => recoloured(v, look)) : item;
  if (item && typeof item === "object" && !("bdata" in item)) return Object.fromEntries(Object.entries(item).map(([k, v]) => [k,
    k === "colorscale" ? v : recoloured(v, look)]));
  return item;
}

function laidOut(layout, look) {
  const axis = (given) => ({ automargin: true, gridcolor: look.line, zerolinecolor: look.line, linecolor: look.muted, tickcolor: look.muted,
    ticks: "outside", showline: true, exponentformat: "power", ...given, title: { standoff: 6, ...given?.title } });
  const out = {
    font: { family: "system-ui, sans-serif", size: 12, color: look.ink }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 12, t: 8, b: 40 },
    hoverlabel: { bgcolor: look.card, bordercolor: look.muted, font: { color: look.ink, size: 12 }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: look.muted, activecolor: look.ink },
    ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
  };
  if (layout.yaxis2) out.yaxis2 = { ...axis(layout.yaxis2), showgrid: false };
  return recoloured(out, look);
}

/** Draw a panel {data, layout, ratio, height} into an element that is on the page. Resolves to the element, which has plotly's events. */
export async function drawPanel(element, panel) {
  const Plotly = await plotly();
  const look = theme();
  const width = element.clientWidth || 600;
  const height = panel.height ?? (panel.ratio ? Math.min(Math.max(width * panel.ratio * 0.85 + 60, 220), 620)
    : Math.min(Math.max(width * 0.55, 220), 360));
  element.style.height = `${Math.round(height)}px`;
  element.panel = panel;
  drawn.add(element);
  const data = panel.data.map((trace, i) => ({ ...recoloured(trace, look), visible: element.hidden_traces?.has(i) ? false : true }));
  const fresh = !element.classList.contains("js-plotly-plot");
  await Plotly.react(element, data, zoomed(panel, laidOut(panel.layout, look)), CONFIG);
  if (fresh) followZoom(element, Plotly);
  return element;
}

/** Forget a panel: its listeners, its memory. */
export function purge(root) {
  for (const element of [...drawn]) {
    if (root.contains(element)) {
      drawn.delete(element);
      seen.unobserve(element);
      window.Plotly?.purge(element);
    }
  }
}

/** What a panel shows along x and along y: where one that shows the same is drawn later, it is zoomed as this one was. */
export const keeping = (x, y = x) => ({ x, y });

const waiting = new WeakMap();
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && waiting.has(entry.target)) {
      const panel = waiting.get(entry.target);
      waiting.delete(entry.target);
      seen.unobserve(entry.target);
      drawPanel(entry.target, panel).catch((error) => entry.target.replaceChildren(el("p", { class: "note", text: String(error.message ?? error) })));
    }
  }
}, { rootMargin: "200px" });

/** Draw the panel of a `panelElement` that is on the page at once; its element of plotly, null where it has no plot. */
export async function drawNow(figure) {
  const target = figure.querySelector(".plot");
  if (!target) return null;
  if (waiting.has(target)) {
    const panel = waiting.get(target);
    waiting.delete(target);
    seen.unobserve(target);
    await drawPanel(target, panel);
  }
  return target;
}

function redraw() {
  for (const element of [...drawn]) {
    if (!element.isConnected) drawn.delete(element);
    else drawPanel(element, element.panel);
  }
}
document.addEventListener("quicklook:theme", redraw);

function swatch(mark, colour) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  const shape = SHAPES[mark];
  path.setAttribute("d", shape ?? (mark === "x-thin" ? "M4 4l8 8m0 -8l-8 8" : mark in DASHES && mark !== "dashed" ? "M0 8h16" : "M2 3h12v10h-12z"));
  const band = mark === "band" || mark === "dashed";
  path.setAttribute("fill", shape || band || mark.startsWith("pattern") ? colour : "none");
  if (band) path.setAttribute("fill-opacity", "0.25");
  path.setAttribute("stroke", colour);
  path.setAttribute("stroke-width", shape ? "0" : "2");
  if (DASHES[mark]) path.setAttribute("stroke-dasharray", DASHES[mark]);
  svg.append(path);
  if (mark.startsWith("pattern") || mark === "hatch") {
    const lines = document.createElementNS(SVG, "path");
    lines.setAttribute("d", mark === "patternx" ? "M3 4l10 8m0 -8l-10 8" : mark === "pattern." ? "M5 6h1M10 6h1M5 10h1M10 10h1"
      : "M3 9l5 -5M4 12l8 -8M8 12l5 -5");
    lines.setAttribute("stroke", mark === "hatch" ? colour : "#ffffff");
    lines.setAttribute("stroke-width", "1.5");
    svg.append(lines);
  }
  return svg;
}

function legend(panel, target) {
  const look = theme();
  const items = panel.legend.map((entry) => {
    const parts = [swatch(entry.mark, onPage(entry.colour, look)), el("span", { text: entry.text })];
    if (!entry.traces.length) return el("li", {}, ...parts);
    const button = el("button", { type: "button", class: "series", "aria-pressed": "true", title: "show or hide" }, ...parts);
    button.addEventListener("click", async () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      target.hidden_traces ??= new Set();
      for (const i of entry.traces) show ? target.hidden_traces.delete(i) : target.hidden_traces.add(i);
      (await plotly()).restyle(target, { visible: show }, entry.traces);
    });
    return el("li", {}, button);
  });
  return items.length ? el("ul", { class: "legend" }, ...items) : null;
}

function table(content) {
  const head = el("thead", {}, el("tr", {}, ...content.header.map((text) => el("th", { scope: "col", text }))));
  const body = el("tbody", {}, ...content.rows.map((row) => el("tr", {}, ...row.map((text) => el("td", { text })))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "table" }, el("table", {}, head, body));
}

/** A panel as an element: title, plot, legend, tables, notes. It is drawn when it comes into view. */
export function panelElement(panel, level = "h4") {
  const box = el("figure", { class: "panel" });
  if (panel.title) box.append(el(level, { text: panel.title }));
  if (panel.message) box.append(el("p", { class: "empty", text: panel.message }));
  if (panel.data) {
    const target = el("div", { class: "plot", tabindex: "0", role: "group", "aria-label": `${panel.title || "plot"}. Keys: ${KEYS}` });
    box.append(target, el("p", { class: "note keys", "aria-hidden": "true", text: `Keys: ${KEYS}.` }));
    const list = legend(panel, target);
    if (list) box.append(list);
    waiting.set(target, panel);
    seen.observe(target);
  }
  for (const content of panel.tables ?? []) box.append(table(content));
  if (panel.notes?.length) box.append(el("p", { class: "note", text: panel.notes.join("; ") }));
  return box;
}

/** Draw a whole figure {title, caption, columns, panels} into an element, in place of what was there. */
export function draw(element, figure, { heading = "h3" } = {}) {
  purge(element);
  const grid = el("div", { class: "panels" }, ...figure.panels.map((p) => panelElement(p)));
  grid.style.setProperty("--columns", String(Math.min(figure.columns, 4)));
  const parts = [];
  if (figure.title) parts.push(el(heading, { class: "plot-title", text: figure.title }));
  parts.push(grid);
  if (figure.caption) parts.push(el("p", { class: "note", text: figure.caption }));
  element.replaceChildren(...parts);
}
