// Equity and drawdown of all parts on one axis of time, linked with the candles: a zoom in one is a zoom in the other, and
// asks for finer points.

import { get, runPath } from "../api.js";
import { draw, moveTime } from "../charts.js";
import { debounce, el, empty, failure, percent, when } from "../ui.js";
import { tradingTime } from "./run_axis.js";
import { labelOf, PARTS, sentence } from "./run_words.js";

const POINTS = 1200;
const WAIT_MS = 200;
const FOLLOW_MS = 100;
const PIXELS_PER_TICK = 110;
const HOW = "Drag to zoom, and the candles follow; double click for all. A click on the legend hides a curve; grey is what the candles show.";
// Buy and hold swings far more than the strategy: from this factor on it gets a scale of its own.
const LARGEST_SWING = 4;

// Draws the curves of all parts in the node. `zoomed(range in ms, or null for all)` is called when a hand has zoomed.
export function equity(node, run, findings, signal, zoomed) {
  const { name } = run;
  const { parts } = findings;
  const words = finding(findings);
  const title = el("h3", {}, words);
  const picture = el("div", { class: "plot run-equity" });
  const note = el("p", { class: "muted run-note" });
  node.replaceChildren(title, picture, note);
  let axis = tradingTime([]);
  let series = null;
  let whole = null;
  let range = null; // of the zoom, in ms; null for all
  let mark = null; // what the candles show, in ms
  let layout = null;
  let running = null;
  let moving = 0;
  let inSight = true;
  let isBehind = false; // of the candles, with points for its window
  let turn = Promise.resolve();

  const ask = debounce(() => load(), WAIT_MS);

  async function load() {
    isBehind = false;
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const stop = () => mine.abort();
    signal.addEventListener("abort", stop, { once: true });
    const query = { parts: [...parts, "buy_and_hold"].join(","), points: POINTS };
    if (range) {
      // A margin, so that a hand that moves on finds a curve.
      const room = (range[1] - range[0]) / 2;
      [query.start, query.end] = [Math.max(Math.round(range[0] - room), 0), Math.round(range[1] + room)];
    }
    try {
      const answer = await get(runPath(name, "equity"), query, { signal: mine.signal });
      const found = answer.series.filter((one) => one.time.length > 0);
      if (!found.length) {
        if (!query.start) node.replaceChildren(empty("No equity to draw", "No part of this run has a bar in which it could trade."));
        return;
      }
      series = found;
      whole ??= [Math.min(...series.map((one) => one.time[0])), Math.max(...series.map((one) => one.time.at(-1)))];
      await inTurn(render);
    } catch (problem) {
      if (problem.name === "AbortError" || mine.signal.aborted) return;
      if (whole === null) node.replaceChildren(failure(problem));
      else note.textContent = `The finer picture did not come: ${problem.message}`;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  // Plotly bears one change at a time.
  function inTurn(work) {
    turn = turn.then(() => (signal.aborted ? null : work())).catch((problem) => {
      note.textContent = `The curves could not be drawn: ${problem.message}`;
    });
    return turn;
  }

  function places() {
    return (range ?? whole).map(axis.place);
  }

  async function render() {
    const held = series.find((one) => one.part === "buy_and_hold");
    const own = Math.max(...series.filter((one) => one !== held).map((one) => swing(one.equity)), 1e-9);
    const apart = held !== undefined && series.length > 1 && swing(held.equity) > LARGEST_SWING * own;
    const traces = series.flatMap((one, i) => [
      {
        ...line(one, one.equity, axis), name: labelOf(one.part), legendgroup: one.part,
        yaxis: apart && one === held ? "y3" : "y", hovertemplate: axis.closes && i === 0 ? "%{y:,.2f}, %{customdata} UTC" : "%{y:,.2f}",
      },
      // The drawdown of buy and hold is told in the figures and would press those of the strategy flat.
      ...(apart && one === held ? [] : [{
        ...line(one, one.drawdown, axis), name: `${labelOf(one.part)} drawdown`, legendgroup: one.part, showlegend: false,
        yaxis: "y2", hovertemplate: "%{y:.2f} %",
      }]),
    ]);
    layout = {
      hovermode: "x unified",
      xaxis: { anchor: apart ? "y3" : "y2", range: places(), uirevision: axis.closes ? "trading" : "always", ...timeAxis() },
      yaxis: { title: { text: "equity, quote" }, domain: apart ? [0.56, 1] : [0.36, 1], tickformat: ",.0f", fixedrange: true },
      yaxis2: { title: { text: "drawdown" }, domain: apart ? [0.29, 0.51] : [0, 0.3], rangemode: "tozero", ticksuffix: " %", nticks: 5, fixedrange: true },
      shapes: shown(),
    };
    if (apart) layout.yaxis3 = { title: { text: "hold" }, domain: [0, 0.24], tickformat: "~s", nticks: 3, fixedrange: true };
    await draw(picture, traces, layout, { signal, label: `${words} ${spanText()}`, onZoom: (zoom) => moved(zoom) });
    note.textContent = `${apart ? "Buy and hold, with the whole capital, has a scale of its own: it swings far more. " : ""}${HOW}`;
  }

  // Where the market closes, marks and dates are made here: the places on its axis are no dates.
  function timeAxis() {
    if (!axis.closes) return { type: "date", hoverformat: "%Y-%m-%d %H:%M UTC" };
    const ticks = axis.ticks(places(), (picture.clientWidth || 900) / PIXELS_PER_TICK);
    return {
      type: "linear", tickvals: ticks.map((tick) => tick.place), ticktext: ticks.map((tick) => tick.text),
      unifiedhovertitle: { text: "at the pointer" },
    };
  }

  // What the candles show, while that is less than the curves do.
  function shown() {
    if (!mark) return [];
    const [from, to] = mark.map(axis.place);
    const [first, last] = places();
    if ((to - from) / (last - first) > 0.98) return [];
    return [{ type: "rect", xref: "x", yref: "paper", x0: from, x1: to, y0: 0, y1: 1, line: { width: 0 }, fillcolor: "@muted", opacity: 0.16, layer: "below" }];
  }

  function moved(zoom) {
    // A double click is told as the whole by its edges.
    const [first, end] = whole.map(axis.place);
    range = zoom === null || (zoom[0] <= first + 1 && zoom[1] >= end - 1) ? null : zoom.map(axis.time);
    zoomed(range);
    inTurn(place);
    ask();
  }

  // Moves the axis over the picture there is, so that it keeps up with a hand on the candles.
  async function place() {
    if (!layout) return;
    const marks = axis.closes ? timeAxis() : {};
    layout.shapes = shown();
    Object.assign(layout.xaxis, marks);
    const more = Object.fromEntries(["tickvals", "ticktext"].filter((key) => marks[key]).map((key) => [`xaxis.${key}`, marks[key]]));
    await moveTime(picture, places(), { ...more, shapes: layout.shapes });
  }

  // Not for every frame of a hand on the candles, and not while nobody looks: Plotly needs longer for one than they do.
  function placeSoon() {
    if (!inSight) return;
    moving ||= setTimeout(() => inTurn(async () => {
      moving = 0;
      await place();
    }), FOLLOW_MS);
  }

  const watcher = new IntersectionObserver((entries) => {
    inSight = entries.at(-1).isIntersecting;
    if (inSight && isBehind) ask();
    if (inSight) placeSoon();
  });
  watcher.observe(picture);

  function spanText() {
    return `${when(whole[0]).slice(0, 10)} to ${when(whole[1]).slice(0, 10)}.`;
  }

  signal.addEventListener("abort", () => {
    clearTimeout(moving);
    watcher.disconnect();
  });
  load();

  return {
    // The candles show this span, in ms; where a hand has moved them the curves do too.
    follow(span, byHand) {
      mark = span;
      if (byHand && whole) {
        const isAll = span[0] <= run.first && span[1] >= run.end;
        range = isAll ? null : span;
        isBehind = true;
        if (inSight) ask();
      }
      if (whole) placeSoon();
    },
    // How the time of this market runs.
    setAxis(found) {
      axis = found;
      if (found.closes && series) inTurn(render);
    },
  };
}

// What the curves say, in words.
function finding({ comparison, parts }) {
  const told = parts.map((part) => {
    const { total_return: gain, max_drawdown: fall } = comparison[part]?.figures ?? {};
    if (!Number.isFinite(gain)) return null;
    const worst = Number.isFinite(fall) ? ` (largest fall ${percent(fall)})` : "";
    return `${comparison[part].label ?? labelOf(part)} ${percent(gain, null, { signed: true })}${worst}`;
  }).filter(Boolean);
  const held = comparison.buy_and_hold?.figures?.total_return;
  if (Number.isFinite(held)) told.push(`buy and hold ${percent(held, null, { signed: true })}`);
  return told.length ? sentence(told.join(", ")) : "Equity of every part.";
}

function line(one, values, axis) {
  const style = PARTS[one.part] ?? PARTS.baseline;
  return {
    type: "scatter", mode: "lines", x: axis.closes ? one.time.map(axis.place) : one.time, y: values,
    line: { color: style.color, width: style.width, dash: style.dash }, ...(axis.closes && { customdata: one.time.map((time) => when(time)) }),
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
