// Two exposures, or two processings of one, metric by metric: verdicts that flipped first, then the largest changes in units of the normal range.
import { api, badge, el, fill, number } from "/static/app.js";

export async function comparison(content, page) {
  const { now, info } = page;
  const nights = (await api(`/nights/${Number(now.night)}`, { tag: page.chosen.tag })).units.filter((u) => u.unit !== now.unit);
  const same = nights.filter((u) => u.flavor === now.tags.flavor), rest = nights.filter((u) => u.flavor !== now.tags.flavor);
  const before = same.filter((u) => u.expid < now.expid).sort((a, b) => b.expid - a.expid)[0] || same[0];
  const otherTag = now.tags_with_it.find((t) => t !== now.tag);
  const other = el("input", { list: "others", value: otherTag ? now.unit : before?.unit ?? "", size: "20",
    "aria-label": "exposure, NIGHT/EXPID", autocomplete: "off" });
  const list = el("datalist", { id: "others" }, [now.unit, ...[...same, ...rest].map((u) => u.unit)].map((u) => el("option", { value: u })));
  const tag = el("select", {}, info.tags.map((t) => el("option", { value: t, text: t, selected: t === (otherTag || now.tag) })));
  const only = el("select", {}, el("option", { value: "", text: "all cameras" }),
    Object.keys(now.parts).map((c) => el("option", { value: c, text: c })));
  const box = el("div", {});
  let asking = 0;   // an answer that comes late must not take the place of a later one

  async function show({ quietly = false } = {}) {
    const mine = ++asking;
    const [night, expid] = other.value.trim().split("/");
    if (!/^\d{8}$/.test(night || "") || !/^\d+$/.test(expid || "")) { fill(box,
      el("p", { text: "Name the other exposure as NIGHT/EXPID, as in 20220101/102." })); return; }
    if (!quietly) fill(box, el("p", { class: "muted", text: "Comparing." }));
    try {
      const said = await api(`${page.path}/compare`, { ...page.asked(), other_night: Number(night), other_expid: Number(expid),
        other_tag: tag.value, part: only.value });
      if (mine === asking) fill(box, result(said, `${Number(expid)}${tag.value === now.tag ? "" : ` (${tag.value})`}`,
        `${now.expid}${tag.value === now.tag ? "" : ` (${now.tag})`}`, page));
    } catch (error) {
      if (mine === asking) fill(box, el("p", { text: error.message }), error.what_next ? el("p", { class: "muted", text: error.what_next }) : null);
    }
  }

  for (const input of [other, tag, only]) input.addEventListener("change", () => show());
  fill(content, el("h3", { text: "Compare" }), el("div", { class: "controls" }, el("label", {}, "with exposure", other), list,
    el("label", {}, "tag", tag), el("label", {}, "camera", only)), box);
  await show();
  return { update: () => show({ quietly: true }) };
}

const word = (status) => (status ? badge(status, { small: true }) : el("span", { class: "muted", text: "not judged" }));

function result(said, before, after, page) {
  const flipped = said.parts.filter((p) => p.before !== p.after), causes = [...new Set(said.parts.flatMap((p) => p.causes))];
  const flips = said.changes.filter((c) => c.status_before !== c.status_after).length;
  const rows = said.changes.slice(0, 400).map((c) => {
    const at = Object.entries(c.at).map(([k, v]) => `${k} ${v}`).join(", ");
    const camera = el("button", { type: "button", class: "small", text: c.part || "all cameras", title: "Open this QA",
      on: { click: () => page.open({ camera: c.part || page.part, qa: c.qa, view: !c.part ? "Exposure" : ["Fibres", "Spectra"].includes(c.group) ? c.group : "CCDs" }) } });
    return el("tr", { class: c.status_before !== c.status_after ? `of-${c.status_after || "none"}` : "" }, el("td", {}, camera),
      el("td", {}, el("b", { text: c.metric }), at ? el("div", { class: "muted",
      text: `${at}${c.elements > 1 ? `, ${c.elements} elements differ` : ""}` }) : null),
      el("td", { class: "n", text: number(c.before) }), el("td", { class: "n", text: number(c.after, c.unit) }),
        el("td", { class: "n", text: c.size === null ? "–" : number(c.size, "", 3) }),
      el("td", { class: "arrow" }, c.status_before === c.status_after ? word(c.status_after) : [word(c.status_before), " → ", word(c.status_after)]));
  });
  return el("div", {},
    el("p", { text: `${said.compared} cameras are in both. ${flipped.length} verdicts and ${flips} metrics flipped; ${said.changes.length} metrics differ.${said.missing.length ? ` In one of them alone: ${said.missing.join(", ")}.` : ""}` }),
    flipped.length ? el("ul", { class: "reasons" }, flipped.map((p) => el("li", {}, `${p.part || "the exposure as a whole"}: `, word(p.before),
      " → ", word(p.after)))) : null,
    causes.length ? el("p", { class: "muted", text: `The processings differ in: ${causes.join("; ")}` }) : null,
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "metrics that differ" },
      el("table", { class: "metrics" }, el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Camera" }),
      el("th", { scope: "col", text: "Metric" }), el("th", { scope: "col", class: "n", text: before }),
      el("th", { scope: "col", class: "n", text: after }), el("th", { scope: "col", class: "n", text: "Change",
      title: "in units of the normal range" }), el("th", { scope: "col", text: "Status" }))), el("tbody", {}, rows))),
    said.changes.length > 400 ? el("p", { class: "hint", text: `the first 400 of ${said.changes.length}` }) : null,
    el("p", { class: "hint", text: "Change: in units of the normal range of the limit; – where there is no limit with two ends." }));
}
