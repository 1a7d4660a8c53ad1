// The candle chart on a canvas: a frame is a few milliseconds, whatever is drawn, so a hand that pans or zooms sees every one.

import { number, price, words } from "../ui.js";

const FOOT = 22;
const STRIP = { small: 58, wide: 104 }; // for prices, and beside them the levels of a trade
const GAP = 5;
const SHARE = { volume: 0.1, other: 0.13 };
const TAG = 16;
const MOST_TEXTS = 150; // marks with their tier beside them
const HOLLOW_FROM = 3; // px of a body
const FULL = Math.PI * 2;

// The parts of the picture in px: {right, foot, panes: {name: {top, bottom}}}; prices come first.
export function arranged(width, height, names, small) {
  const right = width - (small ? STRIP.small : STRIP.wide);
  const foot = height - FOOT;
  const panes = { price: { top: 6, bottom: 0 } };
  let bottom = foot;
  for (const name of [...names].reverse()) {
    const tall = (name === "volume" ? SHARE.volume : SHARE.other) * height;
    panes[name] = { top: bottom - tall, bottom };
    bottom -= tall + GAP;
  }
  panes.price.bottom = bottom;
  return { right, foot, panes, width, height, small };
}

// Draws a scene: {size: of `arranged`, view, bars, under: coarse bars where the others do not reach, layers, hidden: keys,
// ticks: of time, told: the trade that is told at its places, cross: {x, y} px or null, colours: name -> colour}.
// Returns what was drawn for those who point at it: {hits: [{x, y, mark}], scales: {pane: {low, high, value(y)}}}.
export function paint(canvas, scene) {
  const { size, view, colours } = scene;
  const pen = canvas.getContext("2d");
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = colours("card");
  pen.fillRect(0, 0, size.width, size.height);
  pen.font = `11px ${colours("font")}`;
  pen.textBaseline = "middle";
  const across = (place) => ((place - view[0]) / (view[1] - view[0])) * size.right;
  const scales = Object.fromEntries(Object.entries(size.panes).map(([name, pane]) => [name, scaleOf(name, pane, scene)]));
  const drawing = { pen, scene, size, across, scales, colours, hits: [] };
  grid(drawing);
  inPlot(drawing, size.panes.price, () => {
    band(drawing);
    candles(drawing);
  });
  inPlot(drawing, size.panes.volume, () => volume(drawing));
  for (const layer of scene.layers) {
    if (scene.hidden.has(layer.key)) continue;
    const pane = layer.pane ?? "price";
    inPlot(drawing, size.panes[pane], () => DRAW[layer.kind](drawing, layer, scales[pane]));
  }
  labels(drawing);
  if (scene.cross) cross(drawing, scene.cross);
  return { hits: drawing.hits, scales };
}

// One mark, for the key of the chart too.
export function mark(pen, shape, x, y, size, color, ink, up = true) {
  pen.save();
  pen.translate(x, y);
  Object.assign(pen, { fillStyle: color, strokeStyle: color, lineWidth: 2, lineCap: "round" });
  pen.beginPath();
  SHAPES[shape](pen, size, up ? 1 : -1);
  const hollow = /^open|ring|cross/.test(shape);
  if (!hollow) {
    pen.fill();
    Object.assign(pen, { strokeStyle: ink, lineWidth: 0.8 });
  }
  pen.stroke();
  pen.restore();
}

export function stroke(pen, { color, width, dash = [] }, colours) {
  Object.assign(pen, { strokeStyle: colours(color), lineWidth: width, lineCap: "butt", lineJoin: "round" });
  pen.setLineDash(dash);
}

function polygon(pen, points) {
  points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
}

const box = (pen, s) => pen.rect(-0.8 * s, -0.8 * s, 1.6 * s, 1.6 * s);
const circle = (pen, s) => pen.arc(0, 0, s, 0, FULL);
const tall = (pen, s) => polygon(pen, [[0, -1.25 * s], [0.7 * s, 0], [0, 1.25 * s], [-0.7 * s, 0]]);
const crossed = (pen, s) => {
  pen.moveTo(-s, -s);
  pen.lineTo(s, s);
  pen.moveTo(-s, s);
  pen.lineTo(s, -s);
};
const SHAPES = {
  triangle: (pen, s, up) => polygon(pen, [[0, -1.15 * s * up], [1.1 * s, 0.85 * s * up], [-1.1 * s, 0.85 * s * up]]),
  cross: (pen, s) => crossed(pen, 0.8 * s),
  "circled-cross": (pen, s) => {
    pen.arc(0, 0, 1.15 * s, 0, FULL);
    crossed(pen, 0.6 * s);
  },
  circle,
  ring: (pen, s) => {
    circle(pen, s);
    pen.moveTo(1, 0);
    pen.arc(0, 0, 1, 0, FULL);
  },
  square: box,
  "open-square": box,
  diamond: (pen, s) => polygon(pen, [[0, -1.1 * s], [1.1 * s, 0], [0, 1.1 * s], [-1.1 * s, 0]]),
  "tall-diamond": tall,
  "open-tall-diamond": tall,
  star: (pen, s) => polygon(pen, Array.from({ length: 10 }, (_, i) => {
    const [angle, reach] = [(i * Math.PI) / 5 - Math.PI / 2, i % 2 ? 0.5 * s : 1.2 * s];
    return [reach * Math.cos(angle), reach * Math.sin(angle)];
  })),
};

// -- Scales -----------------------------------------------------------------------------------------------------------

function scaleOf(name, { top, bottom }, scene) {
  const [low, high] = rangeOf(name, scene);
  const span = high - low || 1;
  return {
    low, high,
    down: (value) => bottom - ((value - low) / span) * (bottom - top),
    value: (y) => low + ((bottom - y) / (bottom - top)) * span,
  };
}

// What is in sight fits, and for prices the levels of the trade that is told.
function rangeOf(name, scene) {
  if (name === "rsi") return [0, 100];
  const { view, bars, layers, hidden } = scene;
  let low = Infinity;
  let high = -Infinity;
  const reach = (value) => {
    if (value === null || value === undefined) return;
    low = Math.min(low, value);
    high = Math.max(high, value);
  };
  if (name === "volume") {
    eachInSight(bars, view, (i) => reach(bars.volume[i]));
    return [0, high > 0 ? high * 1.05 : 1];
  }
  if (name !== "price") {
    for (const layer of layers) {
      if (layer.pane !== name || hidden.has(layer.key)) continue;
      for (const values of layer.kind === "band" ? [layer.low, layer.high] : [layer.y]) {
        eachInSight(bars, view, (i) => reach(values[i]));
      }
    }
    const room = 0.12 * (high - low) || 1;
    return low <= high ? [low - room, high + room] : [0, 1];
  }
  for (const [shown, keeps] of both(scene)) {
    eachInSight(shown, view, (i) => {
      if (!keeps(i)) return;
      reach(shown.low[i]);
      reach(shown.high[i]);
    });
  }
  for (const [, value] of scene.told?.levels ?? []) reach(value);
  if (!(low <= high)) return [0, 1];
  const room = (high - low) * 0.07 || high * 0.001;
  return [low - room, high + room];
}

// The coarse candles where the others do not reach, and the others.
function both({ bars, under }) {
  const [begin, end] = [bars.left[0] ?? Infinity, bars.right.at(-1) ?? -Infinity];
  const beside = (i) => under.right[i] <= begin || under.left[i] >= end;
  return [...(under ? [[under, beside]] : []), [bars, () => true]];
}

function eachInSight(bars, view, act) {
  for (let i = 0; i < bars.left.length; i += 1) {
    if (bars.right[i] > view[0] && bars.left[i] < view[1]) act(i);
  }
}

// Round values in a range, and the decimals they need.
function rounds(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * [1, 2, 2.5, 5, 10].find((factor) => factor * size >= rough);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (step / size === 2.5 ? 1 : 0));
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
  return { found, decimals };
}

// -- Behind everything ------------------------------------------------------------------------------------------------

function inPlot({ pen, size }, pane, draw) {
  pen.save();
  pen.beginPath();
  pen.rect(0, pane.top, size.right, pane.bottom - pane.top);
  pen.clip();
  draw();
  pen.restore();
}

function grid({ pen, scene, size, across, scales, colours }) {
  stroke(pen, { color: "grid", width: 1 }, colours);
  pen.beginPath();
  for (const tick of scene.ticks) {
    const x = Math.round(across(tick.place)) + 0.5;
    pen.moveTo(x, 0);
    pen.lineTo(x, size.foot);
  }
  pen.textAlign = "left";
  pen.fillStyle = colours("muted");
  for (const [name, { top, bottom }] of Object.entries(size.panes)) {
    if (name === "volume") continue;
    const scale = scales[name];
    const fixed = name === "rsi" ? { found: [30, 50, 70], decimals: 0 } : null;
    const { found, decimals } = fixed ?? rounds(scale.low, scale.high, Math.max((bottom - top) / 46, 1));
    for (const value of found) {
      const y = Math.round(scale.down(value)) + 0.5;
      pen.moveTo(0, y);
      pen.lineTo(size.right, y);
      if (y > top + 5 && y < bottom - 4) pen.fillText(number(value, decimals), size.right + 6, y);
    }
  }
  pen.stroke();
  stroke(pen, { color: "rule", width: 1 }, colours);
  pen.beginPath();
  for (const { bottom } of Object.values(size.panes)) {
    const y = Math.round(bottom + (bottom === size.foot ? 0 : GAP / 2)) + 0.5;
    pen.moveTo(0, y);
    pen.lineTo(size.width, y);
  }
  pen.moveTo(size.right + 0.5, 0);
  pen.lineTo(size.right + 0.5, size.foot);
  pen.stroke();
  pen.textAlign = "center";
  for (const tick of scene.ticks) {
    const x = across(tick.place);
    if (x < 16 || x > size.right - 12) continue;
    pen.fillStyle = colours(tick.strong ? "ink" : "muted");
    pen.fillText(tick.text, x, size.foot + FOOT / 2 + 1);
  }
}

function band({ pen, scene, size, across, colours }) {
  if (!scene.told) return;
  const { from, to, side } = scene.told;
  pen.globalAlpha = 0.13;
  pen.fillStyle = colours(side);
  pen.fillRect(across(from), 0, Math.max(across(to) - across(from), 2), size.height);
  pen.globalAlpha = 1;
}

// Hollow where it closed higher, filled where it closed lower.
function candles({ pen, scene, across, scales, colours }) {
  const { down } = scales.price;
  const { view } = scene;
  for (const [shown, keeps] of both(scene)) {
    for (const rising of [true, false]) {
      const wicks = new Path2D();
      const bodies = new Path2D();
      let widest = 0;
      eachInSight(shown, view, (i) => {
        if (!keeps(i) || shown.close[i] >= shown.open[i] !== rising) return;
        const [left, right] = [across(shown.left[i]), across(shown.right[i])];
        const wide = Math.max(Math.round((right - left) * 0.72), 1);
        const x = Math.round((left + right) / 2) + 0.5;
        const [top, bottom] = [down(Math.max(shown.open[i], shown.close[i])), down(Math.min(shown.open[i], shown.close[i]))];
        wicks.moveTo(x, down(shown.high[i]));
        wicks.lineTo(x, top);
        wicks.moveTo(x, bottom);
        wicks.lineTo(x, Math.max(down(shown.low[i]), down(shown.high[i]) + 1));
        bodies.rect(x - wide / 2, top, wide, Math.max(bottom - top, 1));
        widest = Math.max(widest, wide);
      });
      stroke(pen, { color: rising ? "gain" : "loss", width: 1 }, colours);
      pen.stroke(wicks);
      pen.fillStyle = colours(rising && widest >= HOLLOW_FROM ? "card" : rising ? "gain" : "loss");
      pen.fill(bodies);
      if (widest >= HOLLOW_FROM) pen.stroke(bodies);
    }
  }
}

function volume({ pen, scene, across, scales, colours }) {
  const { bars, view } = scene;
  const { down } = scales.volume;
  pen.fillStyle = colours("candle");
  eachInSight(bars, view, (i) => {
    const [left, right] = [across(bars.left[i]), across(bars.right[i])];
    const y = down(bars.volume[i]);
    pen.fillRect(left + 0.14 * (right - left), y, Math.max(0.72 * (right - left), 0.7), down(0) - y);
  });
}

// -- Layers -----------------------------------------------------------------------------------------------------------

const DRAW = {
  line({ pen, across, colours }, { x, y, style }, { down }) {
    stroke(pen, style, colours);
    pen.beginPath();
    let on = false;
    for (let i = 0; i < x.length; i += 1) {
      if (y[i] === null) on = false;
      else {
        if (on) pen.lineTo(across(x[i]), down(y[i]));
        else pen.moveTo(across(x[i]), down(y[i]));
        on = true;
      }
    }
    pen.stroke();
  },
  band({ pen, across, colours }, { x, low, high }, { down }) {
    const known = x.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
    pen.beginPath();
    for (const i of known) pen.lineTo(across(x[i]), down(high[i]));
    for (const i of known.reverse()) pen.lineTo(across(x[i]), down(low[i]));
    pen.fillStyle = colours("band");
    pen.fill();
  },
  rule({ pen, size, colours }, { y, style }, { down }) {
    stroke(pen, style, colours);
    pen.beginPath();
    pen.moveTo(0, down(y));
    pen.lineTo(size.right, down(y));
    pen.stroke();
  },
  // A level stands until it is moved.
  steps({ pen, across, colours }, { list, style }, { down }) {
    stroke(pen, style, colours);
    pen.beginPath();
    for (const points of list) {
      let before = null;
      for (const [x, y] of points) {
        if (before !== null) pen.lineTo(across(x), down(before));
        if (y !== null) {
          if (before === null) pen.moveTo(across(x), down(y));
          else pen.lineTo(across(x), down(y));
        }
        before = y;
      }
    }
    pen.stroke();
  },
  segments({ pen, across, colours }, { list, style }, { down }) {
    stroke(pen, style, colours);
    pen.beginPath();
    for (const [x, y, toX, toY] of list) {
      pen.moveTo(across(x), down(y));
      pen.lineTo(across(toX), down(toY));
    }
    pen.stroke();
  },
  marks({ pen, size, across, colours, hits, scene }, { shape, color, list }, { down }) {
    const dense = list.length > MOST_TEXTS;
    const radius = dense ? 4 : 5.5;
    pen.setLineDash([]);
    for (const one of list) {
      const [x, y] = [across(one.x), down(one.y)];
      if (x < -radius || x > size.right + radius) continue;
      const up = one.side !== "short";
      mark(pen, shape, x, y, radius, colours(color), colours("ink"), up);
      hits.push({ x, y, mark: one });
      if (!one.text || (dense && !scene.told)) continue;
      pen.textAlign = "center";
      const at = y + (up ? 1 : -1) * (radius + 8);
      Object.assign(pen, { lineWidth: 3, strokeStyle: colours("card"), fillStyle: colours("ink") });
      pen.strokeText(one.text, x, at);
      pen.fillText(one.text, x, at);
    }
  },
};

// -- In front ---------------------------------------------------------------------------------------------------------

function labels({ pen, scene, size, scales, colours }) {
  pen.textAlign = "left";
  pen.fillStyle = colours("muted");
  for (const [name, { top }] of Object.entries(size.panes)) {
    if (name !== "price") pen.fillText(words(name), 4, top + 7);
  }
  const { bars, told } = scene;
  const last = bars.close.length - 1;
  if (last >= 0 && bars.left[last] < scene.view[1]) {
    const color = bars.close[last] >= bars.open[last] ? "gain-text" : "loss-text";
    tag(pen, size.right + 1, scales.price.down(bars.close[last]), price(bars.close[last]), size.width - size.right - 1, colours(color), colours("card"));
  }
  if (!told) return;
  // The levels of the trade that is told, by name, beside the candles and not over them, one under the other where they are close.
  let lowest = -Infinity;
  for (const [name, value] of [...told.levels].sort((a, b) => b[1] - a[1])) {
    const text = size.small ? name : `${name} ${price(Number(value.toPrecision(6)))}`;
    const y = Math.max(scales.price.down(value), lowest + TAG + 1);
    tag(pen, size.right + 1, y, text, size.width - size.right - 1, colours("chosen"), colours("ink"));
    lowest = y;
  }
}

function tag(pen, x, y, text, wide, color, ink) {
  pen.fillStyle = color;
  pen.fillRect(x, y - TAG / 2, wide, TAG);
  pen.fillStyle = ink;
  pen.textAlign = "left";
  pen.fillText(text, x + 5, y + 0.5, wide - 6);
}

function cross({ pen, size, scales, colours, scene }, { x, y, when }) {
  stroke(pen, { color: "muted", width: 1, dash: [3, 3] }, colours);
  pen.beginPath();
  pen.moveTo(Math.round(x) + 0.5, 0);
  pen.lineTo(Math.round(x) + 0.5, size.foot);
  const within = Object.entries(size.panes).find(([, pane]) => y >= pane.top && y <= pane.bottom);
  if (within) {
    pen.moveTo(0, Math.round(y) + 0.5);
    pen.lineTo(size.right, Math.round(y) + 0.5);
  }
  pen.stroke();
  pen.setLineDash([]);
  if (within) {
    const value = scales[within[0]].value(y);
    tag(pen, size.right + 1, y, price(Number(value.toPrecision(6))), size.width - size.right - 1, colours("ink"), colours("card"));
  }
  const wide = pen.measureText(when).width + 10;
  const left = Math.min(Math.max(x - wide / 2, 0), size.right - wide);
  tag(pen, left, size.foot + FOOT / 2, when, wide, colours("ink"), colours("card"));
}
