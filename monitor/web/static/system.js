// Page System: the daemon, its queue, disks, versions, failed jobs with requeue, calibrations, the log.
import { act, age, api, badge, brief, coalesce, el, every, fill, live, number, span, stack, unitLink } from "/static/app.js";

const at = (id) => document.getElementById(id);

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== "").map(([name, value]) => [
    el("dt", { text: name }), el("dd", {}, value)]));
}

function bar(fraction, label) {
  const width = 100 * Math.min(1, Math.max(0, fraction));
  return el("div", { class: "bar", role: "img", "aria-label": label }, el("span", { style: { width: `${width.toFixed(1)}%` } }));
}

function showDaemon({ state, lives }) {
  const beat = state.heartbeat;
  if (!beat) { fill(at("daemon"), el("p", { text: "No daemon has given a sign of life here." })); return; }
  const how = !lives ? "does not run" : { live: "lives", stale: "silent", offline: "not known: no connection" }[live.state];
  const lag = Object.entries(beat.sinks).map(([name, n]) => el("span", { class: `chip${n > 50 ? " late" : ""}`, text: `${name} ${n}` }));
  fill(at("daemon"), how === "lives" ? null : el("p", { class: "muted", text: "As it was at its last sign of life." }), facts([
    ["state", badge(how === "lives" ? "NORMAL" : "STALE", { text: how })],
    ["sign of life", age(state.heartbeat_time)],
    ["workers", `${beat.workers} warm`],
    ["memory", Object.entries(beat.memory_mb).map(([name, mb]) => `${name} ${Math.round(mb)} MB`).join(", ")],
    ["files arriving", String(beat.arriving)],
    ["raw files", beat.raw_trouble ? badge("ALARM", { text: beat.raw_trouble }) : ""],
    ["work", beat.work_trouble ? badge("ALARM", { text: beat.work_trouble }) : ""],
    ["events not yet taken", el("span", { class: "row" }, lag)],
  ]));
}

function showQueue({ state, open }) {
  const beat = state.heartbeat, latency = beat?.latency_s || {}, queue = state.queue;
  fill(at("queue"), facts([
    ["waiting", String(queue.open || 0)], ["running", String(queue.running || 0)], ["done", String(queue.done || 0)],
    ["failed", queue.failed ? badge("failed", { text: String(queue.failed) }) : "0"],
    ["left", state.remaining_s ? `about ${span(state.remaining_s)}` : ""],
    ["last byte to verdict", latency.n ? `median ${brief(latency.median)}, 95 % within ${brief(latency.p95)} (last ${latency.n})` : "not measured yet"],
  ]), open.length ? el("ul", { class: "plain" }, open.slice(0, 12).map((job) => el("li", {},
    badge(job.state, { small: true }), " ", unitLink(job.unit), ` ${job.builder || job.part}`))) : null);
}

function showDisks({ disks }) {
  fill(at("disks"), disks.map((d) => el("div", { class: "disk" },
    el("div", {}, el("b", { text: d.what }), ` ${number(d.free_gb, "GB", 3)} free of ${number(d.total_gb, "GB", 3)}`),
    bar(1 - d.free_gb / d.total_gb, `${d.what}: ${Math.round(100 * (1 - d.free_gb / d.total_gb))} % used`),
    el("div", { class: "mono muted wrap", text: d.path }))));
}

function showVersions({ about }) {
  fill(at("versions"), facts([["instrument", about.instrument], ["site", el("span", { class: "mono", text: about.site })],
    ["tag", about.tag], ...Object.entries(about.versions).map(([name, v]) => [name, el("span", { class: "mono", text: v })])]));
}

function showFailed({ failed, about }) {
  at("requeue-all").hidden = !failed.length;
  at("requeue-all").disabled = Boolean(about.acts);
  if (!failed.length) { fill(at("failed"), el("p", { class: "muted", text: "None." })); return; }
  fill(at("failed"), stack(["exposure", "what", "tries", { text: "why", css: "wrap" }, { text: "what to do", css: "wrap" }, "action"], failed.map((job) => [
    unitLink(job.unit, job.unit), job.builder ? `build ${job.builder} ${job.part}` : job.part, String(job.attempts), job.failure?.message || "", job.failure?.what_next || "",
    el("button", { type: "button", class: "small", disabled: Boolean(about.acts), title: about.acts, "aria-label": `Do ${job.unit} again`, text: "Requeue",
      on: { click: () => requeue(job.unit) } })])));
}

async function requeue(unit) {
  if (await act("requeue", unit ? { unit } : {})) refresh();
}

async function showLog() {
  const { lines } = await api("/log", { lines: 80 });
  const place = at("log"), atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
  place.textContent = lines.length ? lines.join("\n") : "There is no log: the daemon was not started by `quicklook watch`, or never.";
  if (atEnd) place.scrollTop = place.scrollHeight;
}

async function showCalibrations() {
  const { calibrations } = await api("/calibrations");
  if (!calibrations.length) { fill(at("calibrations"), el("p", { class: "muted", text: "The site names no calibrations." })); return; }
  const head = ["kind", "camera", "valid", "quality", "made from", "file"].map((text) => ({ text, css: "wrap" }));
  fill(at("calibrations"), stack(head, calibrations.map((c) => [c.kind, c.part, c.valid, c.quality, c.made_from, c.path])));
}

let last = null;

async function refreshNow() {
  const now = last = await api("/system");
  showDaemon(now);
  showQueue(now);
  showDisks(now);
  showVersions(now);
  showFailed(now);
}

const refresh = coalesce(refreshNow, 700);
at("requeue-all").addEventListener("click", () => requeue(""));
at("calib-more").addEventListener("toggle", () => { if (at("calib-more").open) showCalibrations(); });
live.onState(() => { if (last) showDaemon(last); });   // that it lives is not left standing when it is silent
live.onSync(() => Promise.all([refreshNow(), showLog()]));
for (const kind of ["heartbeat", "started", "verdict", "failed", "unit_verdict", "command"]) live.on(kind, refresh);
live.on("calibration", coalesce(async () => { if (at("calib-more").open) await showCalibrations(); }, 3000));
every(5, () => { if (live.state === "live" && !document.hidden) showLog().catch(() => {}); });
