// Equity and drawdown of all parts on one axis of time: a zoom in one is a zoom in the other, and asks for finer points.

import { get, runPath } from "../api.js";
import { draw } from "../charts.js";
import { debounce, el, empty, failure } from "../ui.js";
import { labelOf, PARTS } from "./run_words.js";

const POINTS = 1500;
const WAIT_MS = 120;
const HOW = "Drag to zoom, double click for all; a click on the legend hides a curve.";
// Buy and hold swings far more than the strategy: from this factor on it gets a scale of its own.
const LARGEST_SWING = 4;

// Draws into the node and keeps it fresh; `range` of the last zoom is kept over theme changes and new data.
export async function equity(node, name, parts, signal) {
  const picture = el("div", { class: "plot run-equity", role: "img", "aria-label": "Equity and drawdown of every part over time" });
  const note = el("p", { class: "muted run-note", "aria-live": "polite" });
  node.replaceChildren(picture, note);
  let whole = null;
  let running = null;

  const ask = debounce((range) => load(range), WAIT_MS);

  async function load(range) {
    running?.abort();
    running = new AbortController();
    const stop = () => running.abort();
    signal.addEventListener("abort", stop, { once: true });
    const mine = running;
    const query = { parts: [...parts, "buy_and_hold"].join(","), points: POINTS };
    if (range) [query.start, query.end] = range.map(Math.round);
    try {
      const answer = await get(runPath(name, "equity"), query, { signal: mine.signal });
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
      },
    ]);
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
    await draw(picture, traces, layout, { signal, onZoom: (zoomed) => ask(zoomed) });
    note.textContent = `${apart ? "Buy and hold, with the whole capital, has a scale of its own: it swings far more. " : ""}${HOW}`;
  }

  await load(null);
}

function line(one, values) {
  const style = PARTS[one.part] ?? PARTS.baseline;
  return {
    type: "scatter", mode: "lines", x: one.time, y: values,
    line: { color: style.color, width: style.width, dash: style.dash },
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
