// Equity and drawdown of all parts on one axis of time: a zoom in one is a zoom in the other, and asks for finer points.

import { get } from "../api.js";
import { draw } from "../charts.js";
import { debounce, el, empty, failure } from "../ui.js";
import { PARTS, labelOf } from "./run_words.js";

const POINTS = 1500;
const WIDTHS = { baseline: 1.3, optimized: 1.6, out_of_sample: 2.6, buy_and_hold: 1.1 };
const DASHES = { buy_and_hold: "dot", baseline: "solid" };
// Buy and hold swings far more than the strategy: from this factor on it gets a scale of its own.
const LARGEST_SWING = 4;

// Draws into the node and keeps it fresh; `range` of the last zoom is kept over theme changes and new data.
export async function equity(node, name, parts, signal) {
  const picture = el("div", { class: "run-plot run-equity", role: "img", "aria-label": "Equity and drawdown of every part over time" });
  const note = el("p", { class: "muted run-note", "aria-live": "polite" });
  node.replaceChildren(picture, note);
  let whole = null;
  let running = null;

  async function load(range) {
    running?.abort();
    running = new AbortController();
    const stop = () => running.abort();
    signal.addEventListener("abort", stop, { once: true });
    const mine = running;
    const query = { parts: [...parts, "buy_and_hold"].join(","), points: POINTS };
    if (range) [query.start, query.end] = range.map(Math.round);
    try {
      const answer = await get(`/runs/${name}/equity`, query, { signal: mine.signal });
      const series = answer.series.filter((one) => one.time.length > 0);
      if (!series.length) {
        if (!range) node.replaceChildren(empty("No equity to draw", "No part of this run has a bar in which it could trade."));
        return;
      }
      whole ??= span(series);
      await render(series, range);
    } catch (problem) {
      if (problem.name === "AbortError" || mine.signal.aborted) return;
      if (whole === null) node.replaceChildren(failure(problem));
      else note.textContent = `The finer picture did not come: ${problem.message}`;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async function render(series, range) {
    const held = series.find((one) => one.part === "buy_and_hold");
    const own = Math.max(...series.filter((one) => one !== held).map((one) => swing(one.equity)), 1e-9);
    const apart = held !== undefined && series.length > 1 && swing(held.equity) > LARGEST_SWING * own;
    const traces = series.flatMap((one) => [
      {
        ...line(one, one.equity), name: labelOf(one.part), legendgroup: one.part,
        yaxis: apart && one === held ? "y3" : "y", hovertemplate: "%{y:,.2f}",
      },
      {
        ...line(one, one.drawdown), name: `${labelOf(one.part)} drawdown`, legendgroup: one.part, showlegend: false,
        yaxis: apart && one === held ? "y4" : "y2", hovertemplate: "%{y:.2f} %",
        ...(one === held || series.length > 3 ? {} : {}),
      },
    ]);
    // A scale that is not asked for would be empty ground.
    const layout = {
      hovermode: "x unified",
      xaxis: { type: "date", anchor: "y2", hoverformat: "%Y-%m-%d %H:%M UTC", ...(range ? { range } : { range: whole }) },
      yaxis: { title: { text: "equity" }, domain: apart ? [0.56, 1] : [0.36, 1], tickformat: ",.0f" },
      yaxis2: { title: { text: "drawdown %" }, domain: apart ? [0.29, 0.51] : [0, 0.3], rangemode: "tozero", tickformat: ",.1f" },
    };
    if (apart) {
      layout.yaxis3 = { title: { text: "hold" }, domain: [0, 0.24], tickformat: "~s", nticks: 3 };
      // Its drawdown is told in the figures and would press those of the strategy flat.
      const at = traces.findIndex((trace) => trace.yaxis === "y4");
      traces.splice(at, 1);
      layout.xaxis.anchor = "y3";
    }
    await draw(picture, traces, layout);
    if (signal.aborted) return;
    note.textContent = apart
      ? "Buy and hold, with the whole capital, has a scale of its own: it swings far more. Drag to zoom, double click for all; a click on the legend hides a curve."
      : "Drag to zoom, double click for all; a click on the legend hides a curve.";
    listen();
  }

  let listening = false;
  function listen() {
    if (listening) return;
    listening = true;
    const ask = debounce((range) => load(range), 150);
    picture.on("plotly_relayout", (event) => {
      if (event["xaxis.autorange"]) return ask(null);
      const from = event["xaxis.range[0]"] ?? event["xaxis.range"]?.[0];
      const to = event["xaxis.range[1]"] ?? event["xaxis.range"]?.[1];
      if (from !== undefined && to !== undefined) ask([asTime(from), asTime(to)]);
      return undefined;
    });
  }

  await load(null);
}

function line(one, values) {
  const style = PARTS[one.part] ?? PARTS.baseline;
  return {
    type: "scatter", mode: "lines", x: one.time, y: values,
    line: { color: style.color, width: WIDTHS[one.part] ?? 1.4, dash: DASHES[one.part] ?? "solid" },
  };
}

function swing(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high - low;
}

function span(series) {
  return [Math.min(...series.map((one) => one.time[0])), Math.max(...series.map((one) => one.time.at(-1)))];
}

// Plotly gives what a drag chose as text without a zone, in UTC, and what was set as it was set.
export function asTime(value) {
  if (typeof value === "number") return value;
  return Date.parse(value.length > 10 ? `${value.replace(" ", "T").slice(0, 23)}Z` : value);
}
