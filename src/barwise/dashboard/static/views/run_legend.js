// The key of the candle chart: what each line and mark stands for, each a button that hides it.

import { colour } from "../charts.js";
import { el } from "../ui.js";
import { mark, stroke } from "./run_paint.js";

const [WIDE, TALL] = [26, 14];

// Keeps the key in the node; `hidden` is the set of keys of layers that are not drawn, and `changed` is called after a press.
export function legend(node, hidden, changed) {
  let known = "";

  // Built anew only where other layers come, so that a focus on it stays.
  return function show(layers, theme) {
    const entries = [...new Map(layers.filter((layer) => layer.name).map((layer) => [layer.key, layer])).values()];
    const now = `${theme} ${entries.map((layer) => layer.key)}`;
    if (now === known) return;
    known = now;
    const held = node.contains(document.activeElement) ? document.activeElement.dataset.layer : null;
    node.replaceChildren(...entries.map(entry));
    if (held) node.querySelector(`[data-layer="${held}"]`)?.focus({ preventScroll: true });
  };

  function entry(layer) {
    const own = el("button", {
      type: "button", class: "quiet", "data-layer": layer.key, "aria-pressed": String(!hidden.has(layer.key)),
      onclick: () => {
        if (!hidden.delete(layer.key)) hidden.add(layer.key);
        own.setAttribute("aria-pressed", String(!hidden.has(layer.key)));
        changed();
      },
    }, glyph(layer), layer.name);
    return own;
  }
}

function glyph(layer) {
  const ratio = window.devicePixelRatio || 1;
  const canvas = el("canvas", { width: WIDE * ratio, height: TALL * ratio, "aria-hidden": "true", style: { width: `${WIDE}px`, height: `${TALL}px` } });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  if (layer.kind === "marks") {
    mark(pen, layer.shape, WIDE / 2, TALL / 2, 4.5, colour(layer.color), colour("ink"));
  } else {
    stroke(pen, layer.style, colour);
    pen.beginPath();
    pen.moveTo(1, TALL / 2);
    pen.lineTo(WIDE - 1, TALL / 2);
    pen.stroke();
  }
  return canvas;
}
