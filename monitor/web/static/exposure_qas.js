// The QAs of a group, worst first: each metric with its limit, its elements, its history; the plots of each.
import { api, badge, el, fill, number, shape } from "/static/app.js";
import { draw, keeping, panelElement, purge } from "/static/plot.js";
import { refill } from "/static/refill.js";

const RANK = { ALARM: 4, WARNING: 3, UNKNOWN: 2, NORMAL: 1 };
const rank = (status) => RANK[status] || 0;
const MOST_ELEMENTS = 600;

/** Whether a QA is shown under a group; what is of none of the three that people know stands with the detectors. */
function belongs(qa, group) {
  const own = qa.group.toLowerCase();
  return group === "CCDs" ? !["fibres", "spectra"].includes(own) : own === group.toLowerCase();
}

/** Draw the QAs of a group of a camera ("-": of the exposure as a whole) into an element; `update` of what it answers changes what has changed. */
export async function qaGroup(content, page, group, part) {
  if (!part) { fill(content, el("p", { class: "muted", text: "No camera has come yet." })); return {}; }
  fill(content, el("p", { class: "muted", text: "Loading." }));
  const heading = el("h3", { text: part === "-" ? "What was found over all cameras" : `Camera ${part}: ${group}` });
  const jump = el("ul", { class: "jump", "aria-label": "QAs" }), list = el("div", {}), left = el("p", { class: "muted" });
  const cards = new Map();   // name -> {text, card}

  async function update() {
    const { qas } = await api(`${page.path}/qas/${encodeURIComponent(part)}`, page.asked());
    const own = qas.filter((q) => part === "-" || belongs(q, group)).sort((a, b) => rank(b.status) - rank(a.status));
    const measured = own.filter((q) => !q.not_applicable), others = own.filter((q) => q.not_applicable);
    if (!own.length) { fill(content, heading, el("p", { class: "muted", text: "No QA of this group has measured here." })); return; }
    if (!list.isConnected) fill(content, heading, jump, list, left);
    refill(jump, measured.map((q) => [q.name, q.status]), () => measured.map((q) => el("li", {},
      el("a", { href: `#qa-${q.name}` }, badge(q.status, { small: true, text: q.name })))));
    left.textContent = others.length ? `Left out, for it does not apply here: ${others.map((q) => `${q.name} (${q.not_applicable})`).join("; ")}` : "";
    arrange(measured);
  }

  function arrange(measured) {
    for (const name of [...cards.keys()].filter((n) => !measured.some((q) => q.name === n))) { drop(cards.get(name).card); cards.delete(name); }
    measured.forEach((qa, i) => {
      const text = JSON.stringify(qa), known = cards.get(qa.name);
      if (known && known.text !== text) drop(known.card);
      const card = known?.text === text ? known.card : qaCard(page, part, qa);
      cards.set(qa.name, { text, card });
      if (list.children[i] !== card) list.insertBefore(card, list.children[i] || null);
    });
    for (const box of list.querySelectorAll(".plot-box")) if (failed.delete(box)) seen.observe(box);
  }

  await update();
  const wanted = page.chosen.qa && document.getElementById(`qa-${page.chosen.qa}`);
  if (wanted) wanted.scrollIntoView();
  return { update };
}

function drop(card) { purge(card); card.remove(); }

function qaCard(page, part, qa) {
  const card = el("article", { class: "qa", id: `qa-${qa.name}` }, el("h3", {}, badge(qa.status, { small: true }), qa.name.replaceAll("_", " "),
    el("small", { text: `after ${qa.step} · ${qa.seconds < 1 ? `${Math.round(1000 * qa.seconds)} ms` : `${qa.seconds.toFixed(1)} s`}` })));
  if (qa.failure) card.append(el("p", {}, badge("UNKNOWN", { text: "not measured", small: true }), ` ${qa.failure.message} `,
    el("b", { text: "What to do: " }), qa.failure.what_next));
  if (qa.metrics.length) {
    const body = el("tbody", {}, [...qa.metrics].sort((a, b) => rank(b.status) - rank(a.status)).flatMap((m) => metricRows(page, part, m)));
    card.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `metrics of ${qa.name}` },
      el("table", { class: "metrics" }, el("thead", {}, el("tr", {}, ["Metric", "Value", "Normal", "Warning", "Status",
      "History"].map((text) => el("th", { scope: "col", class: ["Normal", "Warning"].includes(text) ? "n" : "", text })))), body)));
  }
  const facts = Object.entries(qa.facts).filter(([, v]) => v !== null && v !== "");
  if (facts.length) card.append(el("p", { class: "facts-line", text: facts.map(([k, v]) => `${k.replaceAll("_", " ")}: ${v}`).join(" · ") }));
  const plots = el("div", { class: "plots" }, qa.plots.map((name) => plotBox(page, part, name)));
  if (qa.plots.length) card.append(plots);
  return card;
}

// ---- metrics

function range([low, high], unit) {
  if (low === null && high === null) return "any";
  if (low === null) return `≤ ${number(high)}`;
  if (high === null) return `≥ ${number(low)}`;
  return low === high ? number(low) : `${number(low)} to ${number(high)}`;
}

function places(metric) {
  return Object.entries(metric.coords).reduce((out, [name, values]) => out.flatMap((at) => values.map((v) => [...at, `${name} ${v}`])), [[]]);
}

function decidingLimit(metric) {
  if (!metric.limits.length) return null;
  return metric.limits[(metric.worst !== null && metric.limit_of.length ? metric.limit_of[metric.worst] : 0) ?? 0];
}

function metricRows(page, part, metric) {
  const limit = decidingLimit(metric), many = metric.values.length > 1, where = many ? places(metric) : [[]];
  const at = metric.worst ?? 0;
  const value = metric.not_applicable ? el("span", { class: "muted", text: `does not apply: ${metric.not_applicable}` })
    : !metric.values.length ? "not measured" : !many ? number(metric.values[0], metric.unit)
      : el("span", {}, metric.worst !== null ? `${number(metric.values[at], metric.unit)} at ${where[at].join(", ")}` : summary(metric),
        el("br", {}), elementsOf(metric, where));
  const about = [limit?.reason, limit?.action ? `What to do: ${limit.action}` : "",
    limit?.source ? `limit: ${limit.source}${limitWhen(limit)}` : ""].filter(Boolean);
  const button = el("button", { type: "button", class: "small", text: "history", "aria-expanded": "false",
    "aria-label": `history of ${metric.name}` });
  const row = el("tr", { class: `of-${metric.status || "none"}` },
    el("td", { class: "name" }, el("b", { text: metric.name }), el("small", { text: metric.doc })), el("td", {}, value),
    el("td", { class: "n", text: limit ? range(limit.normal) : "no limit" }), el("td", { class: "n", text: limit ? range(limit.warning) : "" }),
    el("td", {}, metric.status ? badge(metric.status, { small: true }) : el("span", { class: "muted", text: "not judged" })),
      el("td", {}, metric.values.length ? button : null));
  const rows = [row];
  if (metric.reason || (metric.status && metric.status !== "NORMAL")) rows.push(el("tr", {},
    el("td", { colspan: 6, class: "why" }, metric.reason ? el("p", { class: "reasons", text: metric.reason }) : null,
    about.map((text) => el("div", { class: "muted", text })))));
  else if (about.length) row.cells[2].title = about.join("\n");
  const holder = el("tr", { hidden: true }, el("td", { colspan: 6 }));
  rows.push(holder);
  button.addEventListener("click", () => toggleHistory(page, part, metric, button, holder));
  return rows;
}

function limitWhen(limit) {
  const when = Object.entries(limit.when).map(([k, v]) => `${k} ${v.join(" or ")}`);
  const dates = limit.valid_from || limit.valid_to ? [`nights ${limit.valid_from || "…"} to ${limit.valid_to || "…"}`] : [];
  return when.length || dates.length ? ` (${[...when, ...dates].join(", ")})` : "";
}

function summary(metric) {
  const good = metric.values.filter((v) => v !== null).sort((a, b) => a - b);
  if (!good.length) return "not measured";
  return `${number(good[0])} to ${number(good.at(-1), metric.unit)}, median ${number(good[Math.floor(good.length / 2)])}`;
}

function elementsOf(metric, where) {
  const details = el("details", {}, el("summary", { text: `all ${metric.values.length}` }));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const order = metric.values.map((_, i) => i).sort((a, b) => rank(metric.statuses[b]) - rank(metric.statuses[a]) || a - b).slice(0, MOST_ELEMENTS);
    const remarks = new Map(metric.remarks.map((r) => [r.at.join("\u0000"), r.text]));
    const named = Object.values(metric.coords).reduce((out, values) => out.flatMap((a) => values.map((v) => [...a, v])), [[]]);
    const rows = order.map((i) => el("tr", {}, el("th", { scope: "row", text: where[i].join(", ") }),
      el("td", { class: "n", text: number(metric.values[i]) }),
      el("td", { text: `${shape(metric.statuses[i])} ${metric.left_out.includes(i) ? "left out" : metric.statuses[i] || "not judged"}` }),
      el("td", { text: remarks.get(named[i].join("\u0000")) || "" })));
    details.append(el("div", { class: "elements", tabindex: "0", role: "region", "aria-label": `elements of ${metric.name}` },
      el("table", {}, el("tbody", {}, rows))), metric.values.length > MOST_ELEMENTS
      ? el("p", { class: "hint", text: `the first ${MOST_ELEMENTS}, worst first` }) : "");
  });
  return details;
}

async function toggleHistory(page, part, metric, button, holder) {
  holder.hidden = !holder.hidden;
  button.setAttribute("aria-expanded", String(!holder.hidden));
  const box = holder.firstElementChild;
  if (holder.hidden) { purge(box); return; }
  fill(box, el("p", { class: "muted", text: "Loading." }));
  const at = metric.worst !== null && metric.values.length > 8 ? atWorst(metric) : "";
  const flavor = page.now.tags.flavor ? ` and flavor = "${page.now.tags.flavor}"` : "";
  const where = `${part === "-" ? "" : `camera = ${part}`}${flavor}${at}`.replace(/^ and /, "");
  try {
    const found = await api("/trends", { first: `metric:${metric.name}`, first_where: where, tag: page.chosen.tag, limit: 1500 });
    const link = el("a", { href: `/trends?${new URLSearchParams({ first: `metric:${metric.name}`, first_where: where, ...(page.chosen.tag ? { tag: page.chosen.tag } : {}) })}`, text: "in Trends" });
    fill(box, panelElement({ ...found.panel, height: 280, keep: keeping(`history ${metric.name} ${where}`) }), el("p", { class: "hint" }, `${found.rows[0]} values where ${where || "anything"}; `,
      link));
  } catch (error) {
    fill(box, el("p", { text: error.message }), error.what_next ? el("p", { class: "muted", text: error.what_next }) : null);
  }
}

function atWorst(metric) {
  const place = places(metric)[metric.worst] || [];
  return place.map((text) => { const [name, ...value] = text.split(" "); return ` and ${name} = "${value.join(" ").replaceAll('"', "")}"`;
    }).join("");
}

// ---- plots, fetched when they come into view

const waiting = new WeakMap(), failed = new WeakSet();   // what has failed is asked for again when something has changed
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    waiting.get(entry.target)?.();
  }
}, { rootMargin: "300px" });

export function plotBox(page, part, name) {
  const box = el("div", { class: "plot-box" }, el("p", { class: "muted", text: `Plot ${name} …` }));
  waiting.set(box, async () => {
    try {
      const figure = await api(`${page.path}/figures/${encodeURIComponent(part)}/${encodeURIComponent(name)}`, page.asked());
      figure.panels.forEach((panel, i) => { panel.keep = keeping(`${page.now.unit} ${part} ${name} ${i}`); });
      draw(box, figure, { heading: "h4" });
    } catch (error) {
      failed.add(box);
      fill(box, el("p", { class: "muted", text: `Plot ${name}: ${error.message}` }));
    }
  });
  seen.observe(box);
  return box;
}
