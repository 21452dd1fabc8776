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
  const at = node.contains(document.activeElement) ? [...node.querySelectorAll(CONTROLS)].indexOf(document.activeElement) : -1;
  fill(node, make());
  for (const summary of node.querySelectorAll("details > summary")) if (opened.has(summary.textContent)) summary.parentElement.open = true;
  if (at >= 0) node.querySelectorAll(CONTROLS)[at]?.focus({ preventScroll: true });
  return true;
}
