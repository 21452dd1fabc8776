// Any metric of fibres over the focal plane; a click on a fibre opens its spectrum.
import { api, el, fill } from "/static/app.js";
import { drawNow, keeping, panelElement, purge } from "/static/plot.js";

/** Metrics of QAs first, then the columns of SCORES. */
function options(metrics, chosen) {
  const group = (label, score) => {
    const own = metrics.filter((m) => m.score === score);
    return own.length ? el("optgroup", { label }, own.map((m) => el("option", { value: m.name, text: m.name.replaceAll("_", " "), selected: m.name === chosen }))) : null;
  };
  return [group("metrics of QAs", false), group("columns of SCORES", true)];
}

export async function focalPlane(content, page) {
  fill(content, el("p", { class: "muted", text: "Loading." }));
  let known = await api(`${page.path}/focal`, page.asked());
  if (!known.metrics.length) { fill(content, el("p", { class: "muted", text: "No QA of this exposure has measured fibres one by one." })); return {}; }
  const first = known.metrics.find((m) => m.name === page.chosen.plot) || known.metrics.find((m) => m.name === "delta_mag") || known.metrics[0];
  const metric = el("select", {}, options(known.metrics, first.name));
  const arm = el("select", {}), more = el("span", { class: "row" }), about = el("p", { class: "hint" }), box = el("div", { class: "pick" });
  let asking = 0;

  function choices() {
    const chosen = known.metrics.find((m) => m.name === metric.value);
    const mine = page.part.slice(0, 1);
    fill(arm, chosen.arms.map((a) => el("option", { value: a, text: a, selected: a === (chosen.arms.includes(arm.value) ? arm.value : mine) })));
    fill(more, Object.entries(chosen.dims).map(([name, values]) => {
      const select = el("select", { name }, values.map((v) => el("option", { value: v, text: String(v) })));
      select.addEventListener("change", show);
      return el("label", {}, name, " ", select);
    }));
    about.textContent = `${chosen.doc}${known.placed.length ? "" : " No camera knows the places of its fibres: shown by their numbers."}`;
  }

  async function show() {
    page.remember({ plot: metric.value });
    const mine = ++asking;
    const at = [...more.querySelectorAll("select")].map((s) => `${s.name}=${s.value}`).join(",");
    let said;
    try {
      said = await api(`${page.path}/focal/${metric.value}`, { ...page.asked(), arm: arm.value, at });
    } catch (error) {
      if (mine === asking) fill(box, el("p", { text: error.message }));
      return;
    }
    if (mine !== asking) return;
    box.style.minHeight = `${box.offsetHeight}px`;   // what is below it stays where it is
    purge(box);
    const keep = keeping(`focal plane, ${known.placed.length ? "mm" : "numbers"}`, known.placed.length ? "focal plane, mm" : `${page.now.unit} ${metric.value}`);
    const figure = panelElement({ ...said.panel, keep, height: Math.min(620, innerHeight * 0.72, box.clientWidth + 40) });
    fill(box, figure);
    const target = await drawNow(figure);
    box.style.minHeight = "";
    if (!target) return;
    target.on("plotly_click", (event) => {
      const found = /^(\S+) fibre (\d+)$/.exec(event.points[0]?.text || "");
      if (found) page.open({ camera: found[1], fiber: found[2], view: "fibers" });
    });
  }

  metric.addEventListener("change", () => { choices(); show(); });
  arm.addEventListener("change", show);
  choices();
  fill(content, el("h3", { text: "Over the focal plane" }), el("div", { class: "controls" }, el("label", {}, "metric", metric),
    el("label", {}, "arm", arm), more), about, box, el("p", { class: "hint", text: "A click on a fibre opens its spectrum." }));
  await show();

  /** With what further cameras have measured; what is chosen stays. */
  async function update() {
    const names = JSON.stringify(known.metrics), later = await api(`${page.path}/focal`, page.asked());
    known = later.metrics.length ? later : known;
    if (JSON.stringify(known.metrics) !== names) {
      const before = metric.value;
      fill(metric, options(known.metrics, before));
      choices();
    }
    await show();
  }

  return { update };
}
