// How plots are zoomed: by mouse as plotly does it, by keys, and again where a plot is drawn anew (`panel.keep` names what is looked at along x and y).

const AXES = ["xaxis", "yaxis", "yaxis2"];
const MOST = 300;
const ranges = new Map();   // what is looked at -> range that somebody has chosen for it

export const KEYS = "+ and − zoom, arrows move, Shift and arrows stretch, 0 or a double click shows all";

const keyOf = (panel, axis) => panel.keep?.[axis[0]] && `${axis} ${panel.keep[axis[0]]}`;

/** A layout with the ranges that were chosen before for what it shows. */
export function zoomed(panel, layout) {
  for (const axis of AXES) {
    const range = ranges.get(keyOf(panel, axis));
    if (range && layout[axis]) layout[axis] = { ...layout[axis], range: [...range], autorange: false };
  }
  return layout;
}

/** Follow what is zoomed in a plot that has just been drawn, and let keys do it. */
export function followZoom(element, Plotly) {
  element.on("plotly_relayout", (change) => {
    for (const axis of AXES) {
      const key = keyOf(element.panel, axis), told = Object.keys(change).filter((name) => name.startsWith(`${axis}.`));
      if (!key || !told.length) continue;
      ranges.delete(key);
      if (!change[`${axis}.autorange`] && !element.going_home) ranges.set(key, [...element._fullLayout[axis].range]);
    }
    while (ranges.size > MOST) ranges.delete(ranges.keys().next().value);
  });
  element.on("plotly_doubleclick", () => home(element, Plotly));
  element.addEventListener("keydown", (event) => {
    if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = actOf(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(element, Plotly);
  });
  rove(element);
}

function actOf(event) {
  const far = 0.2, by = 1.5;
  const acts = event.shiftKey ? { ArrowRight: scale(by, 1), ArrowLeft: scale(1 / by, 1), ArrowUp: scale(1, by), ArrowDown: scale(1, 1 / by) }
    : { ArrowRight: move(far, 0), ArrowLeft: move(-far, 0), ArrowUp: move(0, far), ArrowDown: move(0, -far) };
  return { "+": scale(by, by), "=": scale(by, by), "-": scale(1 / by, 1 / by), 0: home, ...acts }[event.key];
}

const scale = (x, y) => change((low, high, along) => {
  const middle = (low + high) / 2, half = (high - low) / 2 / (along === "x" ? x : y);
  return [middle - half, middle + half];
});

const move = (x, y) => change((low, high, along) => {
  const by = (high - low) * (along === "x" ? x : y);
  return [low + by, high + by];
});

/** Ranges in the numbers of plotly, so that axes of dates and logarithms are moved as they are seen. */
function change(fn) {
  return (element, Plotly) => {
    const update = {};
    for (const axis of AXES) {
      const one = element._fullLayout[axis];
      if (!one || one.fixedrange || (axis === "yaxis2" && !one.overlaying)) continue;   // a panel of its own stays as it is
      const before = one.range.map((v) => one.r2l(v)), after = fn(...before, axis[0]);
      if (after.some((v, i) => v !== before[i])) update[`${axis}.range`] = after.map((v) => one.l2r(v));
    }
    return Plotly.relayout(element, update);
  };
}

/** All that there is, as it was laid out. */
async function home(element, Plotly) {
  const layout = element.panel.layout, update = {};
  for (const axis of AXES) {
    if (!element._fullLayout[axis]) continue;
    if (layout[axis]?.range) update[`${axis}.range`] = [...layout[axis].range];
    else update[`${axis}.autorange`] = true;
  }
  element.going_home = true;
  try { await Plotly.relayout(element, update); } finally { element.going_home = false; }
}

/** The buttons of plotly are one stop of the tabulator, and arrows go from one to the next. */
function rove(element) {
  const buttons = () => [...element.querySelectorAll(".modebar-btn")];
  const arrange = () => buttons().forEach((button, i) => { button.tabIndex = i ? -1 : 0; });
  element.on("plotly_afterplot", arrange);
  arrange();
  element.addEventListener("keydown", (event) => {
    const all = buttons(), at = all.indexOf(event.target), by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (at < 0 || !by) return;
    event.preventDefault();
    event.stopPropagation();
    all[(at + by + all.length) % all.length].focus();
  });
}
