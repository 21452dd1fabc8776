// Page Exposure: what was found and why, then the cameras, each QA with its metrics, limits and plots, the image, spectra, focal plane, comparisons.
import { about, act, age, announce, api, ApiError, ask, badge, coalesce, el, fill, live, unitPath } from "/static/app.js";
import { comparison } from "/static/exposure_compare.js";
import { focalPlane } from "/static/exposure_focal.js";
import { qaGroup } from "/static/exposure_qas.js";
import { spectraBrowser } from "/static/exposure_spectra.js";
import { imageView } from "/static/imageview.js";
import { byHand, cameraGrid, cameraWords, foundOut, paced, reasonsList, receiptView } from "/static/parts.js";
import { purge } from "/static/plot.js";
import { refill } from "/static/refill.js";

const place = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const [, , givenNight, givenExpid] = location.pathname.split("/");
const following = givenNight === "latest";

/** What is chosen; the address says it, so that it can be sent to somebody. */
const chosen = { camera: query.get("camera") || "", view: query.get("view") || "", tag: query.get("tag") || "",
  revision: query.get("revision") || "", fiber: query.get("fiber") || "", qa: query.get("qa") || "", plot: query.get("plot") || "" };
let now = null, info = null, drawn = "", shownUnit = "";

const WHOLE = "-";
const VIEWS = [
  { name: "overview", title: "Overview" }, { name: "CCDs", title: "CCDs", group: true }, { name: "Fibres", title: "Fibres", group: true },
    { name: "Spectra", title: "Spectra", group: true },
  { name: "Exposure", title: "All cameras", group: true, whole: true }, { name: "image", title: "Image" },
    { name: "fibers", title: "Fibre by fibre" }, { name: "focal", title: "Focal plane" }, { name: "compare", title: "Compare" },
];

export function remember(change) {
  Object.assign(chosen, change);
  const path = now ? unitPath(now.unit, chosen) : location.pathname;
  history.replaceState(null, "", following ? `/exposure/latest?${new URLSearchParams(Object.entries(chosen).filter(([, v]) => v))}` : path);
}

const asked = () => ({ tag: chosen.tag, revision: chosen.revision });

let loading = 0;

async function load() {
  const mine = ++loading;
  info = await about();
  const path = following ? "/exposures/latest" : `/exposures/${Number(givenNight)}/${Number(givenExpid)}`;
  try {
    const said = await api(path, following ? { tag: chosen.tag } : asked());
    if (mine !== loading) return;
    now = said;
  } catch (error) {
    if (mine !== loading) return;
    if (now) throw error;
    fill(place("heading"), el("h2", { id: "exposure-title", text: "Exposure" }),
      el("p", { text: `${error.message}. ${error.what_next || ""}` }));
    if (error.status === 404) return;   // there is none, or not yet
    throw error;
  }
  const text = JSON.stringify(now);
  if (text === drawn) return;
  const changedWhat = `${now.unit} ${now.revision} ${now.verdict?.status || ""}`;
  if (shownUnit && changedWhat !== shownUnit) announce(`Exposure ${now.expid}: ${now.verdict?.status || "being judged"}`);
  drawn = text;
  shownUnit = changedWhat;
  chooseCamera();
  showTop();
  showTabs();
  showView({ anew: false });
}

const refresh = coalesce(load, 400);
const later = paced(refresh, 1500);   // plots and products come by the hundred

function cameras() { return [...new Set([...(now.expected.length ? now.expected : info.cameras), ...Object.keys(now.parts)])]; }

/** The camera that is looked at: the one chosen, else the worst. */
function chooseCamera() {
  if (chosen.camera && chosen.camera in now.parts) return;
  const rank = { ALARM: 3, WARNING: 2, UNKNOWN: 1 };
  const order = Object.entries(now.parts).sort((a, b) => (rank[b[1].status] || 0) - (rank[a[1].status] || 0));
  chosen.camera = order[0]?.[0] || "";
}

function showTop() {
  const status = now.verdict?.status, tags = now.tags;
  refill(place("heading"), [now.unit, status, now.verdict?.overrides, now.revision, tags, now.file, now.seen_time], () => [
    el("h2", { id: "exposure-title" }, `Exposure ${now.expid}`, status ? badge(status) : badge("running", { text: "being judged" }),
      byHand(now.verdict), now.revision ? el("span", { class: "muted", text: `revision ${now.revision}` }) : null),
    el("p", { class: "muted" }, [tags.flavor, tags.program, tags.exptime ? `${tags.exptime} s` : "", `night ${now.night}`,
      tags.start ? `began ${tags.start.slice(0, 19).replace("T", " ")} UTC` : "", now.file].filter(Boolean).join(" · "), " · arrived ",
      age(now.seen_time))]);
  refill(place("found"), [now.verdict, now.decision, now.overrides, Boolean(chosen.view)], () => foundOut(now, chosen.view ? 3 : 8));
  refill(place("cameras"), [now.unit, now.parts, now.expected, chosen.camera], () => cameraGrid(cameras(), info.groups, (c) => ({
    ...cameraWords(now.parts[c], now.expected.includes(c)), pressed: c === chosen.camera,
      onclick: () => { remember({ camera: c, fiber: "" }); showTop(); showView(); } })));
  place("what-found").classList.toggle("many", cameras().length > 12);
  place("what-found").classList.toggle("short", Boolean(chosen.view));   // a view is looked at: it should not begin below the screen
  for (const [id, unit] of [["previous", now.previous], ["next", now.next]]) {
    place(id).hidden = !unit;
    if (unit) place(id).href = unitPath(unit, { tag: chosen.tag, view: chosen.view, camera: chosen.camera });
  }
  place("tag-label").hidden = now.tags_with_it.length < 2;
  refill(place("tag"), [now.tags_with_it, now.tag], () => now.tags_with_it.map((t) => el("option", { value: t, text: t, selected: t === now.tag })));
  place("revision-label").hidden = now.revisions.length < 2;
  refill(place("revision"), [now.revisions, now.revision], () => now.revisions.map((r) => el("option", { value: r, text: `${r}${r === Math.max(...now.revisions) ? " (last)" : ""}`,
    selected: r === now.revision })));
  document.title = `${now.expid} ${status || ""} · quicklook`;
  const may = !info.acts && now.tag === info.tag;
  for (const id of ["override", "rerun"]) { place(id).disabled = !may; place(id).title = may ? "" : info.acts || "of the live tag alone"; }
}

function showTabs() {
  const current = VIEWS.some((v) => v.name === chosen.view) ? chosen.view : "overview";
  chosen.view = current === "overview" ? "" : current;
  refill(place("tabs"), current, () => VIEWS.map((v) => el("button", {
    type: "button", role: "tab", id: `tab-${v.name}`, "aria-selected": String(v.name === current), "aria-controls": "view",
      tabindex: v.name === current ? 0 : -1, text: v.title,
    on: { click: () => { remember({ view: v.name === "overview" ? "" : v.name }); showTop(); showTabs(); showView(); place(`tab-${v.name}`).focus();
      } } })));
  place("view").setAttribute("aria-labelledby", `tab-${current}`);
}

// ---- the view that is chosen

let current = { key: "", data: "", made: Promise.resolve({}) }, building = 0, contactDrawn = 0;

/** What is looked at: where this changes, the view is made anew. */
function viewKey() {
  const revision = now.parts[chosen.camera]?.revision ?? now.revision;
  return JSON.stringify([now.unit, now.tag, now.revision, chosen.view, chosen.camera, revision]);
}

/** What it shows: where this changes, the view brings itself up to date where it stands. */
function viewData() {
  const part = chosen.view === "Exposure" ? "" : chosen.camera, line = now.parts[part];
  const own = (list) => list.filter((f) => f.part === part);
  return JSON.stringify({ "": [now, contactDrawn], image: own(now.products).filter((f) => f.name === "preproc"), fibers: own(now.products),
    focal: Object.values(now.parts).map((p) => p.time), compare: [now.verdict_time, Object.values(now.parts).map((p) => p.time)] }[chosen.view]
    ?? [line?.status, line?.time, line?.state, part ? null : now.verdict_time, own(now.plots)]);
}

function showView({ anew = true } = {}) {
  const key = viewKey(), data = viewData();
  if (anew || key !== current.key) { makeView(key, data, { still: !anew }); return; }
  if (data === current.data) return;
  const one = current;
  one.data = data;
  one.made.then((made) => {
    if (one !== current) return null;
    return made.update ? made.update() : makeView(key, data, { still: true });
  }).catch((error) => { if (error instanceof ApiError) one.data = ""; else throw error; });   // asked again with the next change
}

/** Make the view; `still`: by itself, so that what is looked at must not move away meanwhile. */
function makeView(key, data, { still }) {
  current.made.then((made) => made.stop?.(), () => {});
  const box = place("view"), view = VIEWS.find((v) => v.name === chosen.view) || VIEWS[0], mine = ++building;
  box.style.minHeight = still ? `${box.offsetHeight}px` : "";
  if (still) setTimeout(() => { if (mine === building) box.style.minHeight = ""; }, 3000);
  purge(box);
  const content = el("div", {});
  box.replaceChildren(content);
  const page = { get now() { return now; }, info, chosen, asked, remember, part: chosen.camera,
    path: `/exposures/${Number(now.night)}/${now.expid}`, open: (change) => { remember(change); showTop(); showTabs(); showView(); } };
  const shown = view.group ? qaGroup(content, page, view.name, view.whole ? WHOLE : chosen.camera)
    : { image: imageView, fibers: spectraBrowser, focal: focalPlane, compare: comparison }[view.name]?.(content, page) ?? overview(content);
  const one = { key, data, made: null };
  one.made = Promise.resolve(shown).then((made) => (typeof made === "function" ? { stop: made } : made || {}), (error) => {
    fill(content, el("p", { text: error.message }), error.what_next ? el("p", { class: "muted", text: error.what_next }) : null);
    one.data = "";   // tried again with the next change
    return {};
  });
  current = one;
}

function cameraView(line) {
  return el("div", {}, el("h3", { text: `Camera ${chosen.camera}` }), el("p", {},
    line.status ? badge(line.status, { small: true }) : badge(line.state, { small: true }),
    ` ${line.measured ?? 0} of ${line.expected ?? "?"} QAs have measured${line.seconds ? `, in ${line.seconds.toFixed(2)} s` : ""}`),
    reasonsList(line.reasons, line.status === "NORMAL" ? "All that was measured is within its limits." : ""),
    line.degraded.length ? el("p", {}, badge("WARNING", { text: "degraded", small: true }), ` ${line.degraded.join("; ")}`) : null,
    line.failure ? el("p", {}, badge("failed", { small: true }), ` ${line.failure.message} `, el("b", { text: "What to do: " }),
      line.failure.what_next) : null);
}

function overview(content) {
  const slots = Object.fromEntries(["camera", "receipt", "contact", "products"].map((name) => [name, el("div", {})]));
  fill(content, slots.camera, el("h3", { text: "Latency receipt" }), slots.receipt, el("h3", { text: "Contact sheet" }), slots.contact,
    el("h3", { text: "Stored products" }), slots.products);

  function update() {
    const line = now.parts[chosen.camera];
    refill(slots.camera, [chosen.camera, line], () => [line ? cameraView(line) : null]);
    refill(slots.receipt, [now.receipt, now.parts], () => [receiptView(now.receipt, cameras().filter((c) => now.parts[c]))]);
    const contact = now.plots.find((p) => p.part === "" && p.name.startsWith("contact") && p.drawn);
    refill(slots.contact, [contact, contactDrawn], () => [contact ? contactSheet(contact, slots.contact.querySelector("img"))
      : el("p", { class: "muted", text: "None is drawn, or not yet." })]);
    const products = {};
    for (const f of now.products) (products[f.part] ??= []).push(f.name);
    refill(slots.products, products, () => [Object.keys(products).length ? el("ul", { class: "reasons" },
      Object.entries(products).map(([part, names]) => el("li", { text: `${part}: ${names.join(", ")}` })))
      : el("p", { class: "muted", text: "none" })]);
  }

  update();
  return { update };
}

/** The contact sheet, as large as the one before it until it has come; the fragment makes a browser ask whether it was drawn again. */
function contactSheet(contact, before) {
  const query = new URLSearchParams(Object.entries(asked()).filter(([, v]) => v));
  return el("img", { class: "contact", alt: `All cameras of exposure ${now.expid}`, width: before?.naturalWidth || null,
    height: before?.naturalHeight || null,
    src: `/api/v1/exposures/${Number(now.night)}/${now.expid}/plots/-/${encodeURIComponent(contact.name)}?${query}#${contactDrawn}` });
}

// ---- what people do

place("tag").addEventListener("change", () => { remember({ tag: place("tag").value === info.tag ? "" : place("tag").value, revision: "" });
  refresh(); });
place("revision").addEventListener("change", () => { remember({ revision: Number(place("revision").value) === Math.max(...now.revisions) ? ""
  : place("revision").value }); refresh(); });
place("override").addEventListener("click", async () => {
  const said = await ask(`Override the verdict on ${now.unit}`, [
    { name: "part", label: "of", options: ["the exposure", ...Object.keys(now.parts)], value: "the exposure" },
      { name: "status", label: "verdict", options: ["NORMAL", "WARNING", "ALARM", "UNKNOWN"], value: "NORMAL" }, { name: "reason", label: "why" }],
      { ok: "Override" });
  if (said) { await act("override", { unit: now.unit, part: said.part === "the exposure" ? "" : said.part, status: said.status,
    reason: said.reason }); refresh(); }
});
place("rerun").addEventListener("click", async () => {
  const said = await ask(`Process ${now.unit} again`, [{ name: "part", label: "camera", options: ["all of them", ...Object.keys(now.parts)],
    value: "all of them" }], { ok: "Process again" });
  if (said) { await act("rerun", { unit: now.unit, part: said.part === "all of them" ? "" : said.part }); refresh(); }
});
place("ds9").addEventListener("click", async () => {
  const kinds = ["raw", ...new Set(now.products.map((p) => p.name).filter((n) => ["preproc", "frame", "cframe", "sky"].includes(n)))];
  const said = await ask(`Show ${now.unit} in DS9`, [{ name: "part", label: "camera", options: Object.keys(now.parts), value: chosen.camera },
    { name: "product", label: "what", options: kinds, value: "raw" }], { ok: "Show" });
  if (said) await act("show", { unit: now.unit, tag: now.tag, ...said });
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, dialog, canvas")) return;
  if (event.target.getAttribute?.("role") === "tab" && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    const at = VIEWS.findIndex((v) => `tab-${v.name}` === event.target.id);
    place(`tab-${VIEWS[(at + (event.key === "ArrowRight" ? 1 : VIEWS.length - 1)) % VIEWS.length].name}`).click();
  } else if (event.key === "j" && now?.next) place("next").click();
  else if (event.key === "k" && now?.previous) place("previous").click();
});

const first = load().catch(() => {});   // at once; the stream of events tells later what has changed
live.onSync(async () => { await first; await load(); });
const mine = (fn) => (event) => { if (following || event.unit === now?.unit) fn(); };
for (const kind of ["unit_verdict", "decision", "receipt", "override", ...(following ? ["seen"] : [])]) live.on(kind, mine(refresh));
for (const kind of ["verdict", "plot", "plots", "product", "failed", "started"]) live.on(kind, mine(later));
live.on("plot", (event) => { if (event.unit === now?.unit && !event.part && event.payload.name?.startsWith("contact")) contactDrawn += 1; });
