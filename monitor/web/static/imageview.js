// The image of a camera: tiles on a canvas, to move, to zoom, with its mask in stripes and the value under the pointer.
import { api, blobUrl, el, fill, number } from "/static/app.js";

const MOST_TILES = 220, MOST_KEPT = 60;
const looks = { stretch: "asinh", colours: "grey" };   // of all images
const kept = new Map();   // of each image what was chosen, and where in it somebody is: a later revision is shown in the same way

function keptOf(name) {
  if (!kept.has(name)) kept.set(name, { source: "", low: "", high: "", view: null });
  while (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return kept.get(name);
}

/** Draw the viewer into an element; answers what ends it. */
export async function imageView(content, page) {
  if (!page.part) { fill(content, el("p", { class: "muted", text: "No camera has come yet." })); return null; }
  const path = `${page.path}/images/${encodeURIComponent(page.part)}`;
  const own = keptOf(`${page.now.unit} ${page.part}`);
  const settings = { source: own.source, low: own.low, high: own.high, ...looks };
  fill(content, el("p", { class: "muted", text: "Loading the image." }));
  let info = await api(path, { ...page.asked(), ...settings }).catch((error) => {
    if (!settings.source) throw error;
    Object.assign(settings, { source: "", low: "", high: "" });   // that source is not there any more
    return api(path, { ...page.asked(), ...settings });
  });
  const viewer = new Viewer(path, () => ({ ...page.asked(), ...settings, source: info.source }), info);

  const field = (name, options, label) => {
    const select = el("select", { name }, options.map((o) => el("option", { value: o, text: o,
      selected: o === (name === "source" ? info.source : settings[name]) })));
    select.addEventListener("change", async () => { settings[name] = select.value;
      if (name === "source") { settings.low = settings.high = ""; } await again(); });
    return el("label", {}, label, select);
  };
  const ends = ["low", "high"].map((name) => {
    const input = el("input", { type: "number", step: "any", name, value: settings[name] || null, "aria-label": `${name === "low" ? "darkest" : "brightest"} value, ${info.unit}` });
    input.addEventListener("change", async () => { settings[name] = input.value; await again(); });
    return input;
  });
  const mask = el("input", { type: "checkbox", checked: true });
  mask.addEventListener("change", () => viewer.showMask(mask.checked));
  viewer.onMask = (on) => { mask.checked = on; };
  const amps = el("input", { type: "checkbox", checked: true });
  amps.addEventListener("change", () => viewer.showAmps(amps.checked));
  const tool = (text, title, fn) => el("button", { type: "button", class: "small", text, title, "aria-label": title, on: { click: fn } });
  const bits = el("span", { class: "chips" });
  const scale = el("span", { class: "scale", "aria-hidden": "true" }), low = el("span", { class: "mono" }), high = el("span", { class: "mono" });
  const title = el("h3", {});

  function told() {
    title.textContent = `Camera ${page.part}, ${info.source === "preproc" ? "preprocessed" : "raw, less the median of the overscan"}: ${info.width} × ${info.height} pixels`;
    ends[0].placeholder = number(info.low);
    ends[1].placeholder = number(info.high);
    low.textContent = number(info.low);
    high.textContent = number(info.high, info.unit);
    scale.className = `scale ${settings.colours}`;
    const shares = Object.entries(info.masked).sort((a, b) => b[1] - a[1]);
    fill(bits, shares.length ? shares.map(([name, share]) => {
      const box = el("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => viewer.toggleBit(info.bits[name], box.checked));
      return el("label", {}, box, `${name} ${(100 * share).toPrecision(2)} %`);
    }) : el("span", { class: "muted", text: "nothing is masked" }));
  }

  async function again() {
    for (const name of Object.keys(settings)) (name in looks ? looks : own)[name] = settings[name];
    info = await api(path, { ...page.asked(), ...settings });
    told();
    viewer.renew(info);
  }

  told();
  fill(content, title,
    el("div", { class: "controls" }, info.sources.length > 1 ? field("source", info.sources, "image") : null,
      field("stretch", ["asinh", "linear", "log"], "stretch"), field("colours", ["grey", "viridis"], "colours"), el("label", {}, "from", ends[0]),
      el("label", {}, "to", ends[1]),
      el("label", {}, mask, "mask"), el("label", {}, amps, "amplifiers"), tool("+", "Zoom in", () => viewer.zoom(1.6)),
        tool("−", "Zoom out", () => viewer.zoom(1 / 1.6)), tool("fit", "Whole image", () => viewer.fit()),
        tool("1:1", "One pixel a pixel", () => viewer.oneToOne())),
    viewer.box, viewer.readout, el("div", { class: "row" }, low, scale, high),
      el("div", { class: "controls" }, el("span", { class: "muted", text: "masked:" }), bits),
    el("p", { class: "hint", text: "Drag to move, wheel or two fingers to zoom. Keys, with the image in focus: arrows, + and −, 0 the whole image, 1 one to one, m the mask." }));
  viewer.start(own.view);
  return () => { own.view = viewer.view(); viewer.end(); };
}

class Viewer {
  constructor(path, params, info) {
    this.path = path;
    this.params = params;
    this.info = info;
    this.tiles = new Map();
    this.mask = true;
    this.amps = true;
    this.bits = 0xffff;
    this.pointers = new Map();
    this.canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": "image of the camera; arrows move it, plus and minus zoom" });
    this.box = el("div", { class: "viewer" }, this.canvas);
    this.readout = el("p", { class: "readout", role: "status", text: "\u00a0" });
    this.generation = 0;
  }

  /** Where somebody is in the image: scale, and the pixel in the middle. */
  view() { return { scale: this.scale, cx: this.cx, cy: this.cy, width: this.info.width, height: this.info.height, whole: this.whole }; }

  start(view) {
    this.resizer = new ResizeObserver(() => this.resized());
    this.resizer.observe(this.box);
    this.resized();
    if (view && !view.whole && view.width === this.info.width && view.height === this.info.height) {
      Object.assign(this, { scale: view.scale, cx: view.cx, cy: view.cy });
      this.draw();
    } else this.fit();
    const c = this.canvas;
    c.addEventListener("wheel", (e) => { e.preventDefault(); this.zoom(Math.exp(-e.deltaY * 0.0015), e.offsetX, e.offsetY); }, { passive: false });
    c.addEventListener("pointerdown", (e) => { c.setPointerCapture(e.pointerId); this.pointers.set(e.pointerId, e); });
    c.addEventListener("pointermove", (e) => this.moved(e));
    for (const kind of ["pointerup", "pointercancel"]) c.addEventListener(kind, (e) => this.pointers.delete(e.pointerId));
    c.addEventListener("keydown", (e) => this.key(e));
  }

  end() {
    this.resizer?.disconnect();
    this.forget();
  }

  forget() {
    this.generation += 1;
    for (const tile of this.tiles.values()) tile.picture?.close?.();
    this.tiles.clear();
  }

  renew(info) {
    const same = info.width === this.info.width && info.height === this.info.height;
    this.info = info;
    this.forget();
    same ? this.draw() : this.fit();
  }

  showMask(on) { this.mask = on; this.draw(); }
  showAmps(on) { this.amps = on; this.draw(); }

  toggleBit(bit, on) {
    this.bits = on ? this.bits | bit : this.bits & ~bit;
    for (const [key, tile] of [...this.tiles]) if (key.startsWith("masks/")) { tile.picture?.close?.(); this.tiles.delete(key); }
    this.draw();
  }

  resized() {
    const ratio = devicePixelRatio || 1;
    this.w = this.box.clientWidth;
    this.h = this.box.clientHeight;
    this.canvas.width = Math.round(this.w * ratio);
    this.canvas.height = Math.round(this.h * ratio);
    this.ratio = ratio;
    if (this.scale) this.draw();
  }

  fit() {
    this.scale = Math.min(this.w / this.info.width, this.h / this.info.height) * 0.98;
    this.cx = this.info.width / 2;
    this.cy = this.info.height / 2;
    this.whole = true;
    this.draw();
  }

  oneToOne() { this.scale = 1; this.whole = false; this.draw(); }

  zoom(by, x = this.w / 2, y = this.h / 2) {
    const before = this.at(x, y);
    this.scale = Math.min(Math.max(this.scale * by, 0.02), 64);
    const after = this.at(x, y);
    this.cx += before.x - after.x;
    this.cy += before.y - after.y;
    this.whole = false;
    this.draw();
  }

  /** The pixel at a place of the canvas. */
  at(x, y) { return { x: this.cx + (x - this.w / 2) / this.scale, y: this.cy - (y - this.h / 2) / this.scale }; }
  sx(x) { return (x - this.cx) * this.scale + this.w / 2; }
  sy(y) { return (this.cy - y) * this.scale + this.h / 2; }

  moved(e) {
    const before = this.pointers.get(e.pointerId);
    if (before && this.pointers.size === 1) {
      this.cx -= (e.offsetX - before.offsetX) / this.scale;
      this.cy += (e.offsetY - before.offsetY) / this.scale;
      this.whole = false;
      this.draw();
    } else if (before && this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((p) => p.pointerId !== e.pointerId);
      const far = (p) => Math.hypot(p.offsetX - other.offsetX, p.offsetY - other.offsetY) || 1;
      this.zoom(far(e) / far(before), (e.offsetX + other.offsetX) / 2, (e.offsetY + other.offsetY) / 2);
    }
    if (before) this.pointers.set(e.pointerId, e);
    this.tell(e.offsetX, e.offsetY);
  }

  key(e) {
    const far = 60 / this.scale;
    const acts = {
      ArrowLeft: () => { this.cx -= far; }, ArrowRight: () => { this.cx += far; }, ArrowUp: () => { this.cy += far; },
        ArrowDown: () => { this.cy -= far; }, "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5),
      0: () => this.fit(), 1: () => this.oneToOne(), m: () => { this.mask = !this.mask; this.onMask?.(this.mask); },
    };
    if (!acts[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    acts[e.key]();
    if (e.key.startsWith("Arrow")) this.whole = false;
    this.draw();
    this.tell(this.w / 2, this.h / 2);
  }

  tell(px, py) {
    clearTimeout(this.telling);
    const { x, y } = this.at(px, py), ix = Math.floor(x), iy = Math.floor(y);
    if (ix < 0 || iy < 0 || ix >= this.info.width || iy >= this.info.height) { this.readout.textContent = "\u00a0"; return; }
    const mine = this.telling = setTimeout(async () => {
      try {
        const p = await api(`${this.path}/pixel`, { ...this.params(), x: ix, y: iy });
        if (mine === this.telling) this.readout.textContent = `x ${p.x}, y ${p.y}: ${p.value === null ? "no value" : number(p.value, p.unit, 6)}${p.amplifier ? ` · amplifier ${p.amplifier}` : ""} · ${p.mask.length ? `masked: ${p.mask.join(", ")}` : "not masked"}`;
      } catch { /* the next move asks again */ }
    }, 120);
  }

  /** A tile as far as it is here; it is fetched where it is not. */
  tile(kind, level, column, row) {
    const key = `${kind}/${level}/${column}/${row}`;
    const known = this.tiles.get(key);
    if (known) { this.tiles.delete(key); this.tiles.set(key, known); return known.picture; }
    const tile = { picture: null };
    this.tiles.set(key, tile);
    const mine = this.generation;
    blobUrl(`${this.path}/${key}`, { ...this.params(), version: undefined, ...(kind === "masks" ? { bits: this.bits } : {}) }).then(async (url) => {
      const picture = new Image();
      picture.src = url;
      await picture.decode();
      URL.revokeObjectURL(url);
      if (mine !== this.generation) return;
      tile.picture = picture;
      this.draw();
    }).catch(() => { setTimeout(() => this.tiles.delete(key), 2000); });
    while (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
    return null;
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.paint(); });
  }

  paint() {
    const g = this.canvas.getContext("2d");
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.clearRect(0, 0, this.w, this.h);
    const top = this.info.levels - 1;
    const level = Math.min(Math.max(Math.floor(Math.log2(1 / (this.scale * this.ratio)) + 0.01), 0), top);
    g.imageSmoothingEnabled = this.scale * 2 ** level < 1;
    for (const l of level < top ? [top, level] : [level]) this.layer(g, "tiles", l);
    if (this.mask && this.bits) this.layer(g, "masks", level);
    if (this.amps) this.borders(g);
  }

  layer(g, kind, level) {
    const size = this.info.tile * 2 ** level, from = this.at(0, this.h), to = this.at(this.w, 0);
    const columns = Math.ceil(this.info.width / size), rows = Math.ceil(this.info.height / size);
    for (let row = Math.max(0, Math.floor(from.y / size)); row <= Math.min(rows - 1, Math.floor(to.y / size)); row += 1) {
      for (let column = Math.max(0, Math.floor(from.x / size)); column <= Math.min(columns - 1, Math.floor(to.x / size)); column += 1) {
        const picture = this.tile(kind, level, column, row);
        if (!picture) continue;
        const x0 = column * size, y0 = row * size, x1 = Math.min(x0 + size, this.info.width), y1 = Math.min(y0 + size, this.info.height);
        g.drawImage(picture, this.sx(x0), this.sy(y1), (x1 - x0) * this.scale, (y1 - y0) * this.scale);
      }
    }
  }

  borders(g) {
    g.save();
    g.strokeStyle = "#56B4E9";
    g.fillStyle = "#56B4E9";
    g.setLineDash([5, 4]);
    g.font = "bold 13px sans-serif";
    for (const a of this.info.amplifiers) {
      g.strokeRect(this.sx(a.x0), this.sy(a.y1), (a.x1 - a.x0) * this.scale, (a.y1 - a.y0) * this.scale);
      g.save();
      g.shadowColor = "#000";
      g.shadowBlur = 3;
      g.fillText(a.name, this.sx(a.x0) + 5, this.sy(a.y0) - 6);
      g.restore();
    }
    g.restore();
  }
}
