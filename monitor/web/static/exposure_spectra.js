// Spectra fibre by fibre: any of frame, cframe and sky, with mask, error and sky; the next by key, the worst by any metric first.
import { announce, api, el, fill, number } from "/static/app.js";
import { keeping, panelElement, purge } from "/static/plot.js";

const BY_NUMBER = "number of the fibre";

/** Draw the browser into an element; answers what ends it. */
export async function spectraBrowser(content, page) {
  if (!page.part) { fill(content, el("p", { class: "muted", text: "No camera has come yet." })); return null; }
  fill(content, el("p", { class: "muted", text: "Loading the spectra." }));
  const path = `${page.path}/spectra/${encodeURIComponent(page.part)}`;
  let all = await api(path, page.asked()), order = [], by = BY_NUMBER, asking = 0;
  let current = all.fibers.some((f) => f.fiber === Number(page.chosen.fiber)) && page.chosen.fiber !== "" ? Number(page.chosen.fiber) : null;

  const product = el("select", {}, all.products.map((p) => el("option", { value: p, text: p, selected: p === all.product })));
  const sort = el("select", {});
  const input = el("input", { type: "number", min: "0", step: "1", "aria-label": "number of the fibre" });
  const list = el("ul", { class: "fibers", "aria-label": "fibres" }), box = el("div", {}), facts = el("dl", { class: "facts" }), title = el("h3", {});
  const before = el("button", { type: "button", text: "‹ before", title: "Fibre before (p)" }),
    after = el("button", { type: "button", text: "next ›", title: "Next fibre (n)" });
  const worst = el("button", { type: "button", text: "worst", title: "The worst by this order (w)" });

  function arrange() {
    fill(sort, [BY_NUMBER, ...Object.keys(all.worst)].map((name) => el("option",
      { value: name, text: name === BY_NUMBER ? name : `worst by ${name.replaceAll("_", " ")}`, selected: name === by })));
    const known = new Map(all.fibers.map((f) => [f.fiber, f]));
    order = (by === BY_NUMBER ? all.fibers.map((f) => f.fiber) : all.worst[by] || []).filter((n) => known.has(n));
    fill(list, order.map((n) => {
      const f = known.get(n);
      return el("li", {}, el("button", { type: "button", data: { fiber: n },
        text: `${n}  ${f.objtype}${f.snr === null ? "" : `  S/N ${number(f.snr, "", 3)}`}${f.masked > 0.01 ? `  ${Math.round(100 * f.masked)} % masked` : ""}`, on: { click: () => show(n) } }));
    }));
  }

  async function show(fiber) {
    current = fiber;
    page.remember({ fiber: String(fiber) });
    const mine = ++asking;
    for (const b of list.querySelectorAll("button")) b.setAttribute("aria-current", String(Number(b.dataset.fiber) === fiber));
    list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    input.value = fiber;
    let said;
    try {
      said = await api(`${path}/${fiber}`, { ...page.asked(), product: all.product });
    } catch (error) {
      if (mine === asking) fill(box, el("p", { text: error.message }));
      return;
    }
    if (mine !== asking) return;
    title.textContent = `Fibre ${fiber} of ${page.part}, ${all.product}: ${order.indexOf(fiber) + 1} of ${order.length} by ${by.replaceAll("_", " ")}`;
    purge(box);
    const keep = keeping(`wavelength of ${page.part}`, `${page.now.unit} ${page.part} ${fiber} ${all.product}`);
    fill(box, panelElement({ ...said.panel, title: "", keep }));
    const line = all.fibers.find((f) => f.fiber === fiber);
    const rows = { ...(line.snr === null ? {} : { "median S/N": number(line.snr, "", 4) }), masked: `${(100 * line.masked).toPrecision(2)} %`,
      ...said.facts, ...Object.fromEntries(Object.entries(said.masks).map(([k, n]) => [`mask ${k}`, `${n} samples`])) };
    fill(facts, Object.entries(rows).flatMap(([k, v]) => [el("dt", { text: k }), el("dd", { text: v })]));
    announce(`Fibre ${fiber}`);
  }

  function step(by_) {
    const at = order.indexOf(current);
    if (order.length) show(order[Math.min(Math.max(at + by_, 0), order.length - 1)]);
  }

  product.addEventListener("change", async () => { all = await api(path, { ...page.asked(), product: product.value }); arrange();
    show(current ?? order[0]); });
  sort.addEventListener("change", () => { by = sort.value; arrange(); show(by === BY_NUMBER ? current : order[0]); });
  input.addEventListener("change", () => { const n = Number(input.value); if (all.fibers.some((f) => f.fiber === n)) show(n); });
  before.addEventListener("click", () => step(-1));
  after.addEventListener("click", () => step(1));
  worst.addEventListener("click", () => { if (by === BY_NUMBER) { by = "S/N"; arrange(); } show(order[0]); });
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, dialog")) return;
    const acts = { n: () => step(1), p: () => step(-1), w: () => worst.click() };
    if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
  };
  document.addEventListener("keydown", keys);

  arrange();
  fill(content, title, el("div", { class: "controls" }, el("label", {}, "product", product), el("label", {}, "order", sort), before,
    el("label", {}, "fibre", input), after, worst, el("span", { class: "hint", text: "keys: n next, p before, w worst" })),
    el("div", { class: "split" }, el("div", {}, box), el("div", {}, list, facts)));
  await show(current ?? order[0]);
  return () => document.removeEventListener("keydown", keys);
}
