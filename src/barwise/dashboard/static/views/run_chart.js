// The candles of a run, fluid at half a million bars: only what the window needs is fetched, half a window to each side with
// it, and the picture there is stays until the new one is there.

import { get, runPath } from "../api.js";
import { colour, onTheme } from "../charts.js";
import { button, count, counted, debounce, el, failure, money, number, percent, price, when, words } from "../ui.js";
import { tradingTime } from "./run_axis.js";
import { fewEnough, layersOf, panesOf, placed } from "./run_layers.js";
import { legend } from "./run_legend.js";
import { arranged, paint } from "./run_paint.js";
import { handle } from "./run_pointer.js";
import { labelOf, lengthOf, sameTrade } from "./run_words.js";

const MARGIN = 0.5; // of the window, fetched on each side
const ROOM = 0.15; // of it that must be left before more is fetched
const PIXELS_PER_CANDLE = 3;
const FIRST_PIXELS_PER_BAR = 5; // of the window that is shown first
const PIXELS_PER_TICK = 95;
const FEWEST_BARS = 12;
const MOST_TRADES = 250;
const WAIT_MS = 60;
const LONGEST_WAIT_MS = 180;
const NARROW = 600;
const DAY = 86_400_000;
const RANGES = [["hour", 3_600_000], ["day", DAY], ["week", 7 * DAY], ["month", 30 * DAY], ["quarter", 91 * DAY], ["year", 365 * DAY], ["all", Infinity]];
const HOW = "Drag or the arrow keys move in time; the wheel over the focused chart, two fingers, plus and minus zoom; double click or 0 shows all. " +
  "Shift with an arrow reads candle by candle, Enter opens the trade there.";

// Makes the chart of `run.part` in the node. on = {pick(trade): one was clicked, moved([from, to] in ms, byHand),
// closed(axis): how this market's time runs, announce(text)}.
export function candleChart(node, run, signal, on) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const tip = el("div", { class: "run-tip", hidden: true });
  const picture = el("div", { class: "run-candles", tabindex: "0", role: "application", "aria-roledescription": "chart", "aria-label": `Candles. ${HOW}` }, canvas, tip);
  const readout = el("dl", { class: "run-readout" });
  const status = el("p", { class: "muted run-note" }, "Loading the candles.");
  const lengths = RANGES.filter(([, length]) => length === Infinity || (length >= FEWEST_BARS * run.step && length < run.end - run.first));
  const buttons = lengths.map(([label, length]) => button(label, () => last(length), { "data-range": label }));
  const busy = el("span", { class: "run-busy", hidden: true }, "loading");
  const key = el("div", { class: "run-legend", role: "group", "aria-label": "What is drawn; press to hide" });
  node.replaceChildren(
    el("div", { class: "run-chart-head" }, el("div", { class: "run-ranges", role: "group", "aria-label": "Length of the window" }, ...buttons), busy),
    readout, key, picture, status, el("p", { class: "muted run-note run-how" }, HOW),
  );

  const hidden = new Set();
  const showKey = legend(key, hidden, () => drawSoon());
  let axis = tradingTime([]);
  let whole = [run.first, run.end];
  let view = whole.slice();
  let under = null; // all candles, coarse, for where the others do not reach
  let data = null; // what was fetched last, and for which window
  let layers = [];
  let layered = {}; // what they were made of
  let drawn = { hits: [], scales: {} };
  let chosen = null;
  let look = null; // px in the picture
  let read = null; // the candle that is read
  let running = null;
  let frame = 0;
  let waitsSince = 0;
  let theme = 0;

  // -- The window -----------------------------------------------------------------------------------------------------

  function clamp([from, to]) {
    const length = Math.min(Math.max(to - from, FEWEST_BARS * run.step), whole[1] - whole[0]);
    const first = Math.min(Math.max((from + to - length) / 2, whole[0]), whole[1] - length);
    return [first, first + length];
  }

  function times() {
    return [axis.time(view[0]), Math.min(axis.time(view[1]), run.end)];
  }

  function setView(range, { byHand = true } = {}) {
    view = clamp(range);
    placeButtons();
    if (data) drawSoon();
    on.moved(times(), byHand);
    if (enough()) {
      // What was asked for is of a window that is left.
      waitsSince = 0;
      running?.abort();
      return;
    }
    // A hand that does not rest is answered meanwhile.
    waitsSince ||= performance.now();
    if (performance.now() - waitsSince > LONGEST_WAIT_MS) load();
    else loadSoon();
  }

  const loadSoon = debounce(() => waitsSince && load(), WAIT_MS);

  function placeButtons() {
    lengths.forEach(([, length], i) => {
      const on = length === Infinity ? view[1] - view[0] >= whole[1] - whole[0] - 1 : Math.abs(view[1] - view[0] - lengthAt(length)) < run.step / 2;
      buttons[i].setAttribute("aria-pressed", String(on));
    });
  }

  // A day of a market that closes is one session, a week its five.
  function lengthAt(length) {
    return whole[1] - axis.place(run.end - length);
  }

  function last(length) {
    if (length === Infinity) return setView(whole);
    const wanted = lengthAt(length);
    const middle = (view[0] + view[1]) / 2;
    const wasAtEnd = view[1] >= whole[1] - run.step;
    return setView(wasAtEnd ? [whole[1] - wanted, whole[1]] : [middle - wanted / 2, middle + wanted / 2]);
  }

  function pan(share) {
    const move = share * (view[1] - view[0]);
    setView([view[0] + move, view[1] + move]);
  }

  function zoom(factor, share) {
    const length = Math.min(Math.max((view[1] - view[0]) * factor, FEWEST_BARS * run.step), whole[1] - whole[0]);
    const fixed = view[0] + share * (view[1] - view[0]);
    setView([fixed - share * length, fixed + (1 - share) * length]);
  }

  // -- What is fetched ------------------------------------------------------------------------------------------------

  // Whether what is there already shows this window as finely as an answer would, with room to move on in.
  function enough() {
    if (!data || data.part !== run.part) return false;
    const length = view[1] - view[0];
    const covers = data.from <= Math.max(view[0] - ROOM * length, whole[0]) && data.to >= Math.min(view[1] + ROOM * length, whole[1]);
    const finest = !data.candles.coarse && !data.overlays.omitted && data.overlays.levels;
    const fits = data.to - data.from < 4 * length;
    return covers && fits && (finest || data.to - data.from < 2.4 * length || data.isWhole);
  }

  function pointsFor(length) {
    return Math.max(Math.round((sizeNow().right / PIXELS_PER_CANDLE) * length), 60);
  }

  async function asked(path, query, own) {
    return get(runPath(run.name, path), { part: run.part, ...query }, { signal: own.signal });
  }

  async function load() {
    waitsSince = 0;
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const stop = () => mine.abort();
    signal.addEventListener("abort", stop, { once: true });
    busy.hidden = false;
    try {
      if (!under) await begin(mine);
      const length = view[1] - view[0];
      const from = Math.max(view[0] - MARGIN * length, whole[0]);
      const to = Math.min(view[1] + MARGIN * length, whole[1]);
      const span = { start: Math.floor(axis.time(from)), end: Math.ceil(to >= whole[1] ? run.end : axis.time(to)) };
      const isWhole = length >= whole[1] - whole[0] - 1;
      const [part, points] = [run.part, pointsFor((to - from) / length)];
      const [candles, overlays] = await Promise.all([
        asked("candles", { ...span, points }, mine), asked("overlays", { ...span, most: MOST_TRADES }, mine),
      ]);
      if (mine.signal.aborted) return;
      candles.coarse = candles.timeframe !== run.timeframe || candles.merged > 1;
      data = { part, panes: panesOf(candles), candles, overlays, from, to, isWhole, bars: placed(candles, axis, lengthOf(candles.timeframe), run.end) };
      read = null;
      drawSoon();
    } catch (problem) {
      if (problem.name === "AbortError" || mine.signal.aborted) return;
      if (data) status.textContent = `The window did not load: ${problem.message}`;
      else picture.replaceChildren(failure(problem));
    } finally {
      signal.removeEventListener("abort", stop);
      if (running === mine) busy.hidden = true;
    }
  }

  // All candles, coarse: they say when this market is closed, and stand where finer ones are still to come.
  async function begin(mine) {
    const all = await asked("candles", { points: pointsFor(1) }, mine);
    axis = tradingTime(all.closed);
    whole = [axis.place(run.first), axis.place(run.end)];
    under = placed(all, axis, lengthOf(all.timeframe), run.end);
    const bars = Math.max(Math.round(sizeNow().right / FIRST_PIXELS_PER_BAR), 2 * FEWEST_BARS);
    view = chosen ? around(chosen) : clamp([whole[1] - bars * run.step, whole[1]]);
    placeButtons();
    on.closed(axis);
    on.moved(times(), false);
  }

  // -- What is drawn --------------------------------------------------------------------------------------------------

  function sizeNow() {
    const [wide, high] = [picture.clientWidth || 900, picture.clientHeight || 500];
    return arranged(wide, high, data ? data.panes : ["volume"], wide < NARROW);
  }

  function drawSoon() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (!signal.aborted && data) render();
    });
  }

  function render() {
    const size = sizeNow();
    const styles = getComputedStyle(document.documentElement);
    const known = new Map();
    const colours = (role) => {
      if (!known.has(role)) known.set(role, colour(role, styles));
      return known.get(role);
    };
    const withLevels = fewEnough(data.overlays.trades, times());
    if (layered.data !== data || layered.chosen !== chosen || layered.withLevels !== withLevels) {
      layered = { data, chosen, withLevels };
      layers = layersOf({ ...data, axis, run, chosen, withLevels });
    }
    drawn = paint(canvas, {
      size, view, bars: data.bars, under, layers, hidden, colours, told: toldTrade(),
      ticks: axis.ticks(view, size.right / PIXELS_PER_TICK), cross: crossNow(size),
    });
    showKey(layers, theme);
    tell();
    readAt();
    showTip();
  }

  function toldTrade() {
    const trade = chosen && data.overlays.trades.find((one) => sameTrade(one, chosen));
    if (!trade) return null;
    const half = run.step / 2;
    const levels = [
      ["entry", trade.entry_price], ["exit", trade.exit_price],
      ["stop", trade.stops.at(-1)?.[1]], ["target", trade.targets.at(-1)?.[1]],
    ].filter(([, value]) => Number.isFinite(value));
    const [from, to] = [axis.place(trade.entry_time), axis.place(trade.exit_time) + 2 * half];
    return to < view[0] || from > view[1] ? null : { from, to, side: trade.side, levels };
  }

  // The crosshair stands on a candle.
  function crossNow(size) {
    read = null;
    if (!look || look.x > size.right) return null;
    const place = view[0] + (look.x / size.right) * (view[1] - view[0]);
    read = barAt(place);
    if (read < 0) return null;
    const { left, right, time } = data.bars;
    const x = (((left[read] + right[read]) / 2 - view[0]) / (view[1] - view[0])) * size.right;
    return { x, y: look.y, when: when(time[read]) };
  }

  function barAt(place) {
    const { left } = data.bars;
    let [low, high] = [0, left.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (left[middle] <= place) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, left.length ? 0 : -1);
  }

  function valuesAt(i) {
    const { bars, candles } = data;
    const change = 100 * (bars.close[i] / (bars.close[i - 1] ?? bars.open[i]) - 1);
    const tone = bars.close[i] >= bars.open[i] ? "gain" : "loss";
    return [
      ...["open", "high", "low", "close"].map((name) => [name.charAt(0).toUpperCase(), price(bars[name][i]), tone]),
      ["change", percent(change, 2, { signed: true }), change < 0 ? "loss" : "gain"],
      ["volume", price(Number(bars.volume[i].toPrecision(6)))],
      ...Object.entries(candles.lines).filter(([, line]) => line.some((value) => value !== null))
        .map(([name, line]) => [words(name), line[i] === null ? "n/a" : name === "rsi" ? number(line[i], 1) : price(Number(line[i].toPrecision(6)))]),
    ];
  }

  // Of the candle under the crosshair; of the last visible one where there is none.
  function readAt() {
    const i = read ?? barAt(view[1] - 1);
    if (i < 0) return;
    readout.replaceChildren(
      el("div", { class: "run-read-time" }, el("dt", { class: "unseen" }, "candle"), el("dd", {}, `${when(data.bars.time[i])} UTC`)),
      ...valuesAt(i).map(([name, text, tone]) => el("div", {}, el("dt", {}, name), el("dd", { class: tone }, text))),
    );
  }

  function tell() {
    const { candles, bars, overlays } = data;
    const inside = bars.left.filter((left, i) => bars.right[i] > view[0] && left < view[1]).length;
    const [from, to] = times();
    const trades = overlays.trades.filter((trade) => trade.exit_time >= from && trade.entry_time <= to);
    const net = trades.reduce((sum, trade) => sum + trade.net_pnl, 0);
    const omitted = overlays.omitted ? `, ${count(overlays.omitted)} more in and beside it not drawn: zoom in to see each` : "";
    const result = trades.length && !overlays.omitted ? `, net ${money(net, { signed: true })}` : "";
    Object.assign(picture.dataset, { timeframe: candles.timeframe, start: String(Math.round(from)), end: String(Math.round(to)) });
    status.textContent = `${counted(inside, "candle")} of ${candles.timeframe}, ${when(from)} .. ${when(to)} UTC; ` +
      `${counted(trades.length, "trade")}, ${labelOf(run.part)}${result}${omitted}.`;
    picture.setAttribute("aria-label", `${status.textContent} ${HOW}`);
  }

  // -- Hands ----------------------------------------------------------------------------------------------------------

  function nearest({ x, y }, reach) {
    let found = null;
    for (const hit of drawn.hits) {
      const distance = Math.hypot(hit.x - x, hit.y - y);
      if (distance <= reach) [found, reach] = [hit, distance];
    }
    return found;
  }

  function showTip() {
    const hit = look && nearest(look, 10);
    tip.hidden = !hit;
    picture.classList.toggle("at-trade", Boolean(hit && Number.isInteger(hit.mark.trade)));
    if (!hit) return;
    tip.replaceChildren(...hit.mark.tip().map((line) => el("div", {}, line)));
    const left = hit.x + 16 + tip.offsetWidth > picture.clientWidth ? hit.x - 16 - tip.offsetWidth : hit.x + 16;
    Object.assign(tip.style, { left: `${Math.max(left, 0)}px`, top: `${Math.max(hit.y - tip.offsetHeight - 6, 0)}px` });
  }

  function tradeOf(mark) {
    return data?.overlays.trades.find((one) => sameTrade(one, { trade_id: mark.trade, piece: mark.piece }));
  }

  // A candle at a time, for those who have no pointer; the window follows.
  function step(by) {
    if (!data) return;
    const i = Math.min(Math.max((read ?? barAt((view[0] + view[1]) / 2)) + by, 0), data.bars.left.length - 1);
    const middle = (data.bars.left[i] + data.bars.right[i]) / 2;
    if (middle < view[0] || middle > view[1]) pan(by < 0 ? -0.5 : 0.5);
    const size = sizeNow();
    look = { x: ((middle - view[0]) / (view[1] - view[0])) * size.right, y: drawn.scales.price?.down(data.bars.close[i]) ?? 0 };
    on.announce(`${when(data.bars.time[i])}: ${valuesAt(i).map(([name, text]) => `${name} ${text}`).join(", ")}.`);
    drawSoon();
  }

  handle(picture, {
    width: () => sizeNow().right,
    pan, zoom, step,
    ends: (first) => setView(first ? [whole[0], whole[0] + view[1] - view[0]] : [whole[1] - view[1] + view[0], whole[1]]),
    all: () => setView(whole),
    look(point) {
      look = point;
      drawSoon();
    },
    click(point, reach) {
      const hit = nearest(point, reach);
      const trade = hit && tradeOf(hit.mark);
      if (trade) on.pick(trade);
    },
    open() {
      if (!data) return;
      const at = read === null ? (view[0] + view[1]) / 2 : (data.bars.left[read] + data.bars.right[read]) / 2;
      const away = (trade) => Math.max(axis.place(trade.entry_time) - at, at - axis.place(trade.exit_time) - run.step, 0);
      const [closest] = [...data.overlays.trades].sort((a, b) => away(a) - away(b));
      if (closest) on.pick(closest);
      else on.announce("There is no trade near the crosshair.");
    },
  }, signal);
  const watcher = new ResizeObserver(() => drawSoon());
  watcher.observe(picture);
  onTheme(() => {
    theme += 1;
    drawSoon();
  }, signal);
  signal.addEventListener("abort", () => {
    running?.abort();
    watcher.disconnect();
    cancelAnimationFrame(frame);
  });

  // The bars of a trade in the middle third.
  function around(trade) {
    const [from, to] = [axis.place(trade.entry_time), axis.place(trade.exit_time) + run.step];
    const room = Math.max(to - from, 20 * run.step);
    return clamp([(from + to) / 2 - 1.5 * room, (from + to) / 2 + 1.5 * room]);
  }

  return {
    start: () => load(),
    // The part of the run has changed.
    show() {
      chosen = null;
      return load();
    },
    // To a trade; the picture there is stays until that of the trade is there.
    async jump(trade) {
      chosen = trade;
      look = null;
      if (!under) return load();
      view = around(trade);
      placeButtons();
      on.moved(times(), false);
      await load();
    },
    // To a span in ms, of another chart; all where it is null.
    follow(range) {
      if (under) setView(range ? range.map(axis.place) : whole, { byHand: false });
    },
    forget() {
      chosen = null;
      drawSoon();
    },
  };
}
