// Parts of a page that are made anew only where what they show has changed: what somebody has opened stays open, and the focus stays where it was.
import { fill } from "/static/app.js";

const CONTROLS = "a[href], button, input, select, summary, [tabindex]";
const shown = new WeakMap();

/** Fill `node` with what `make` gives, where `data` differ from those it was last filled with; whether it was filled. */
export function refill(node, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(node) === text) return false;
  shown.set(node, text);
  const opened = new Set([...node.querySelectorAll("details[open] > summary")].map((s) => s.textContent));
  const focused = node.contains(document.activeElement) ? mark(node, document.activeElement) : null;
  fill(node, make());
  for (const summary of node.querySelectorAll("details > summary")) if (opened.has(summary.textContent)) summary.parentElement.open = true;
  if (focused) again(node, focused)?.focus({ preventScroll: true });
  return true;
}

const nameOf = (control) => control.getAttribute("aria-label") || control.textContent;

/** Where a control is among those of its node, and among those of its name. */
function mark(node, control) {
  const all = [...node.querySelectorAll(CONTROLS)], name = nameOf(control);
  return { name, at: all.indexOf(control), nth: all.filter((c) => nameOf(c) === name).indexOf(control) };
}

/** The same control, made anew: by its name, for others may have come before it; one without a name by its place. */
function again(node, { name, at, nth }) {
  const all = [...node.querySelectorAll(CONTROLS)];
  return name ? all.filter((c) => nameOf(c) === name)[nth] : all[at];
}
