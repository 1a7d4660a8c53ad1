// The candles of a run, fluid at half a million bars: only what the window needs is fetched, one window to each side with
// it, and the old picture stays until the new one is there.

import { get, runPath } from "../api.js";
import { draw, toMs } from "../charts.js";
import { button, count, counted, debounce, el, failure, number, price, when, words } from "../ui.js";
import { layoutOf, shownLines, tracesOf } from "./run_layers.js";
import { labelOf, sameTrade } from "./run_words.js";

const MARGIN = 0.5; // of the window, fetched on each side
const PIXELS_PER_CANDLE = 3;
const FEWEST_BARS = 12;
const MOST_TRADES = 250;
const WAIT_MS = 90;
const STEP = 0.2; // of the window, for one press of an arrow
const ZOOM = 1.5;
const DAY = 86_400_000;
const RANGES = [["1D", DAY], ["1W", 7 * DAY], ["1M", 30 * DAY], ["3M", 91 * DAY], ["all", Infinity]];
const FIRST_BARS = 500;

// Makes the chart of `run.part` in the node. `pick(trade)` is called when a trade in it is clicked.
export function candleChart(node, run, signal, pick) {
  const picture = el("div", {
    class: "plot run-candles", tabindex: "0", role: "application",
    "aria-label": "Candles with fills, stops and targets. Arrow left and right move in time, plus and minus zoom, Home and End go to the ends.",
  });
  const readout = el("p", { class: "run-readout" });
  const status = el("p", { class: "muted run-note", "aria-live": "polite" }, "Loading the candles.");
  const buttons = RANGES.map(([label, length]) => button(label, () => chart.last(length), { "data-range": label }));
  const bar = el("div", { class: "run-ranges", role: "group", "aria-label": "Length of the window" }, ...buttons);
  const busy = el("span", { class: "run-busy", hidden: true }, "loading");
  node.replaceChildren(el("div", { class: "run-chart-head" }, bar, readout, busy), picture, status);

  const whole = [run.first, run.end];
  let view = firstView(run);
  let data = null; // what was fetched last, and for which window
  let chosen = null;
  let running = null;
  let listening = false;
  let layout = null;
  let turn = Promise.resolve();
  let placing = false;
  let own = false; // the axes are being moved from here, and no hand moves them
  let drawings = 0;

  const fetchSoon = debounce(() => load(), WAIT_MS);

  function clamp([from, to]) {
    const length = Math.min(Math.max(to - from, FEWEST_BARS * run.step), whole[1] - whole[0]);
    const middle = (from + to) / 2;
    const first = Math.min(Math.max(middle - length / 2, whole[0]), whole[1] - length);
    return [first, first + length];
  }

  function setView(range, { now = false } = {}) {
    view = clamp(range);
    if (data) place();
    for (const [i, [, length]] of RANGES.entries()) {
      const wanted = Math.min(length, whole[1] - whole[0]);
      buttons[i].setAttribute("aria-pressed", String(Math.abs(view[1] - view[0] - wanted) < run.step / 2));
    }
    if (now) return load();
    return enough() ? tell() : fetchSoon();
  }

  // Whether what is there already shows this window as finely as an answer would, with a margin to move on in.
  function enough() {
    if (!data) return false;
    const length = view[1] - view[0];
    const room = 0.25 * length;
    const covers = data.start <= Math.max(view[0] - room, whole[0]) && data.end >= Math.min(view[1] + room, whole[1]);
    const finest = !data.candles.coarse && !data.overlays.omitted;
    const fits = data.end - data.start < 4 * length;
    return covers && fits && (finest || data.end - data.start < 2.2 * length);
  }

  // Plotly bears one change at a time.
  function inTurn(work) {
    turn = turn.then(() => (signal.aborted ? null : work())).catch((problem) => {
      status.textContent = `The chart could not be drawn: ${problem.message}`;
    });
    return turn;
  }

  // Moves the axes over the picture there is, so that a hand on the keys never waits for the network.
  function place() {
    if (placing) return;
    placing = true;
    inTurn(async () => {
      placing = false;
      if (!layout) return;
      const prices = yRanges();
      // The layout that was drawn is the one that a change of theme draws again.
      layout.xaxis.range = view.slice();
      if (prices) layout.yaxis.range = prices;
      own = true;
      try {
        await window.Plotly.relayout(picture, { "xaxis.range": view.slice(), ...(prices && { "yaxis.range": prices.slice() }) });
      } finally {
        own = false;
      }
    });
  }

  // Prices fit what is visible, and the levels of the trade that is told.
  function yRanges() {
    const { time, low, high } = data.candles;
    let bottom = Infinity;
    let top = -Infinity;
    for (let i = 0; i < time.length; i += 1) {
      if (time[i] + data.width < view[0] || time[i] > view[1]) continue;
      bottom = Math.min(bottom, low[i]);
      top = Math.max(top, high[i]);
    }
    const told = data.overlays.trades.find((trade) => sameTrade(trade, chosen));
    if (told) {
      for (const [at, level] of [...told.stops, ...told.targets]) {
        if (level === null || at > view[1] || at < view[0] - run.step) continue;
        bottom = Math.min(bottom, level);
        top = Math.max(top, level);
      }
    }
    if (!(bottom <= top)) return null;
    const room = (top - bottom) * 0.06 || top * 0.001;
    return [bottom - room, top + room];
  }

  async function load() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const stop = () => mine.abort();
    signal.addEventListener("abort", stop, { once: true });
    const length = view[1] - view[0];
    const start = Math.round(Math.max(view[0] - MARGIN * length, whole[0]));
    const end = Math.round(Math.min(view[1] + MARGIN * length, whole[1]));
    const inView = Math.max((picture.clientWidth || 900) / PIXELS_PER_CANDLE, 100);
    const points = Math.round(inView * (end - start) / length);
    busy.hidden = false;
    try {
      const [candles, overlays] = await Promise.all([
        get(runPath(run.name, "candles"), { part: run.part, start, end, points }, { signal: mine.signal }),
        get(runPath(run.name, "overlays"), { part: run.part, start, end, most: MOST_TRADES }, { signal: mine.signal }),
      ]);
      if (mine.signal.aborted) return;
      candles.coarse = candles.timeframe !== run.timeframe || candles.merged > 1;
      data = { candles, overlays, start, end, width: widthOf(candles, run.step) };
      await inTurn(render);
    } catch (problem) {
      if (problem.name === "AbortError" || mine.signal.aborted) return;
      if (data) status.textContent = `The window did not load: ${problem.message}`;
      else picture.replaceChildren(failure(problem));
    } finally {
      signal.removeEventListener("abort", stop);
      if (running === mine) busy.hidden = true;
    }
  }

  async function render() {
    const small = picture.clientWidth < 600;
    const lines = shownLines(data.candles);
    drawings += 1;
    layout = layoutOf(data, lines, run, { view, small, chosen, revision: drawings });
    const prices = yRanges();
    if (prices) layout.yaxis.range = prices;
    await draw(picture, tracesOf(data, lines, { view, small, chosen }), layout, {
      signal, modebar: false, onZoom: (range) => moved(range ?? whole), onClick: clicked,
    });
    if (signal.aborted) return;
    listen();
    tell();
  }

  function tell() {
    const { candles, overlays } = data;
    const inside = candles.time.filter((time) => time + data.width > view[0] && time < view[1]).length;
    const trades = overlays.trades.filter((trade) => trade.exit_time >= view[0] && trade.entry_time <= view[1]).length;
    const omitted = overlays.omitted ? `, ${count(overlays.omitted)} not drawn: zoom in to see each` : "";
    picture.dataset.timeframe = candles.timeframe;
    picture.dataset.start = String(Math.round(view[0]));
    picture.dataset.end = String(Math.round(view[1]));
    status.textContent =
      `${counted(inside, "candle")} of ${candles.timeframe}, ${when(view[0])} .. ${when(view[1])} UTC; ` +
      `${counted(trades, "trade")}, ${labelOf(run.part)}${omitted}.`;
    readAt(null);
  }

  // Open, high, low, close and the lines under the pointer; of the last visible candle where there is none.
  function readAt(time) {
    const { candles } = data;
    let i = candles.time.length - 1;
    const at = time ?? view[1];
    while (i > 0 && candles.time[i] > at) i -= 1;
    if (i < 0) return;
    const tone = candles.close[i] >= candles.open[i] ? "gain" : "loss";
    const value = (name, text, kind = null) => el("span", {}, `${name} `, el("b", { class: kind }, text));
    const lines = Object.entries(candles.lines).filter(([, line]) => line[i] !== null);
    readout.replaceChildren(
      el("span", {}, when(candles.time[i])),
      ...["open", "high", "low", "close"].map((name) => value(name.charAt(0).toUpperCase(), price(candles[name][i]), tone)),
      ...lines.map(([name, line]) => value(words(name), name === "rsi" ? number(line[i], 1) : price(Number(line[i].toPrecision(6))))),
    );
  }

  // Told of every move of the axes, of those that came from here too: by then the window may be elsewhere.
  function moved(range) {
    if (!own) setView(range);
  }

  function clicked(event) {
    const [id, piece] = event.points.map((point) => point.customdata).find((about) => Number.isInteger(about?.[0])) ?? [];
    const trade = data.overlays.trades.find((one) => sameTrade(one, { trade_id: id, piece }));
    if (trade) pick(trade);
  }

  function listen() {
    if (listening) return;
    listening = true;
    picture.addEventListener("mousemove", (event) => {
      const axis = picture._fullLayout?.xaxis;
      if (!axis || !data) return;
      const x = event.clientX - picture.getBoundingClientRect().left - axis._offset;
      if (x >= 0 && x <= axis._length) readAt(toMs(axis.p2d(x)));
    });
    picture.addEventListener("mouseleave", () => data && readAt(null));
    // The wheel zooms where the chart has the focus or Ctrl is held; else it scrolls the page, as everywhere.
    picture.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !picture.contains(window.document.activeElement)) return;
        event.preventDefault();
        const axis = picture._fullLayout.xaxis;
        const x = event.clientX - picture.getBoundingClientRect().left - axis._offset;
        zoom(event.deltaY > 0 ? ZOOM ** 0.5 : ZOOM ** -0.5, Math.min(Math.max(x / axis._length, 0), 1));
      },
      { passive: false },
    );
  }

  function zoom(factor, place = 0.5) {
    const length = Math.min(Math.max((view[1] - view[0]) * factor, FEWEST_BARS * run.step), whole[1] - whole[0]);
    const fixed = view[0] + place * (view[1] - view[0]);
    setView([fixed - place * length, fixed + (1 - place) * length]);
  }

  function pan(share) {
    const move = share * (view[1] - view[0]);
    setView([view[0] + move, view[1] + move]);
  }

  const KEYS = {
    ArrowLeft: () => pan(-STEP), ArrowRight: () => pan(STEP), "+": () => zoom(1 / ZOOM), "=": () => zoom(1 / ZOOM), "-": () => zoom(ZOOM),
    Home: () => setView([whole[0], whole[0] + view[1] - view[0]]),
    End: () => setView([whole[1] - view[1] + view[0], whole[1]]),
  };
  picture.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
  signal.addEventListener("abort", () => running?.abort());

  const chart = {
    start: () => setView(view, { now: true }),
    // The end of the window stays where it is, except for the whole.
    last(length) {
      if (length === Infinity) return setView(whole);
      const end = chosen === null ? view[1] : Math.max(view[1], view[0] + length);
      return setView([end - length, end]);
    },
    // The part of the run has changed.
    show() {
      chosen = null;
      return load();
    },
    // To a trade: its bars in the middle third.
    jump(trade) {
      chosen = trade;
      const held = Math.max(trade.exit_time - trade.entry_time, 20 * run.step);
      return setView([trade.entry_time - held, trade.exit_time + held], { now: true });
    },
    forget() {
      chosen = null;
      if (data) inTurn(render);
    },
  };
  return chart;
}

function firstView(run) {
  return [Math.max(run.end - FIRST_BARS * run.step, run.first), run.end];
}

// The width of a candle: the smallest step between two, since nights and gaps are longer.
function widthOf(candles, step) {
  let width = Infinity;
  for (let i = 1; i < Math.min(candles.time.length, 400); i += 1) width = Math.min(width, candles.time[i] - candles.time[i - 1]);
  return Number.isFinite(width) ? width : step;
}
