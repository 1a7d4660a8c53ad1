// What is drawn over and under the candles of a run, as layers: lines of the strategy, entry programs and the prices they
// waited at, fills by tier, stops, targets, trails, and exits. Each has a shape of its own, so that no two are told apart
// by their colours alone.

import { money, price, when, words } from "../ui.js";
import { EXITS, sameTrade, TIERS } from "./run_words.js";

const MOST_LEVELS = 40; // trades in the window, before stops and targets would only be noise
const MOST_ORDERS = 12;
const DASH = [6, 4];
const DOT = [2, 3];
const DASH_DOT = [9, 3, 2, 3];
const LINES = [
  { color: "short", width: 1 }, { color: "long", width: 2 }, { color: "muted", width: 1.4, dash: DASH },
  { color: "tier-2", width: 1.2, dash: DOT }, { color: "target", width: 1.2, dash: DASH_DOT },
];
const BESIDE_PRICES = new Set(["rsi", "atr", "risk"]);
const RSI = "rsi";
const EXIT_MARKS = {
  stop_loss: ["cross", "stop"], trailing_stop: ["circled-cross", "stop"], take_profit: ["circle", "target"],
  trailing_take_profit: ["ring", "target"], opposite_signal: ["square", "muted"], strategy_exit: ["open-square", "muted"],
  end_of_data: ["diamond", "muted"], ruined: ["star", "stop"],
};

// Candles at their places: {time, left, right, open, high, low, close, volume}. A candle of many bars is as wide as they.
export function placed(candles, axis, frame, end) {
  const left = candles.time.map(axis.place);
  const right = left.map((from, i) => Math.min(left[i + 1] ?? axis.place(end), from + frame * candles.merged));
  const { time, open, high, low, close, volume } = candles;
  return { time, left, right, open, high, low, close, volume };
}

// Panes under the prices, from top to bottom.
export function panesOf(candles) {
  const own = Object.keys(candles.lines).filter((name) => BESIDE_PRICES.has(name) && candles.lines[name].some((value) => value !== null));
  return ["volume", ...own];
}

// Whether the trades between two times are few enough for stops and targets.
export function fewEnough(trades, [from, to]) {
  return trades.filter((trade) => trade.exit_time >= from && trade.entry_time <= to).length <= MOST_LEVELS;
}

// Every layer, from the back to the front: {key, name, kind, pane, ...}.
// One with a name stands in the key of the chart; panes have their names in the picture.
//   line: x, y, style         band: x, low, high         rule: y, style
//   steps: list of [[x, y], ...]                         segments: list of [x, y, x, y]
//   marks: shape, color, list of {x, y, side, text, tip(): lines, trade, piece}
export function layersOf({ candles, overlays, bars, axis, run, chosen, withLevels }) {
  const center = centerIn(axis, run);
  const told = overlays.trades.filter((trade) => sameTrade(trade, chosen));
  const levels = withLevels ? overlays.trades : told;
  const step = (points) => points.map(([time, level]) => [axis.place(time), level]);
  const steps = (key, name, levelsOf, style) => ({ key, name, kind: "steps", style, list: levels.map(levelsOf).filter((one) => one.length).map(step) });
  return [
    ...lines(candles, bars, run),
    steps("stop", "stop", (trade) => before(trade.stops, trade.trailing_from), { color: "stop", width: 1.6, dash: DASH }),
    steps("trail", "trailing stop", (trade) => after(trade.stops, trade.trailing_from), { color: "stop", width: 2 }),
    steps("target", "target", (trade) => trade.targets, { color: "target", width: 1.6, dash: DASH_DOT }),
    programs(overlays.programs, axis, center),
    ...orders(overlays.programs, levels, center, run.step),
    ...["long", "short"].map((side) => path(overlays.trades, side, center)),
    ...signals(overlays.programs, center),
    ...TIERS.map((name, i) => fills(overlays.fills, i + 1, name, center)),
    ...EXITS.map((reason) => exits(overlays.trades, reason, center)),
  ].filter((layer) => layer.list === undefined || layer.list.length);
}

// What happened within a bar stands in the middle of it.
function centerIn(axis, run) {
  const origin = axis.place(run.first);
  return (time) => origin + (Math.floor((axis.place(time) - origin) / run.step) + 0.5) * run.step;
}

function lines(candles, bars, run) {
  const x = bars.right.map((right) => right - run.step / 2); // the close of its last bar
  let at = -1;
  return Object.entries(candles.lines).filter(([, y]) => y.some((value) => value !== null)).flatMap(([name, y]) => {
    const own = { key: name, kind: "line", x, y };
    if (!BESIDE_PRICES.has(name)) {
      at += 1;
      return [{ ...own, name: words(name), style: LINES[at % LINES.length] }];
    }
    const range = candles.coarse && candles.ranges[name];
    return [
      ...(range ? [{ key: `${name}-range`, kind: "band", pane: name, x, ...range }] : []),
      ...(name === RSI ? thresholds(run) : []),
      { ...own, pane: name, style: { color: "ink", width: 1.1 } },
    ];
  });
}

function thresholds(run) {
  const set = run.parameters?.[run.part] ?? {};
  return [["rsi_long_threshold", "long", DOT], ["rsi_short_threshold", "short", DASH]]
    .filter(([name]) => Number.isFinite(set[name]))
    .map(([name, color, dash]) => ({ key: name, kind: "rule", pane: RSI, y: set[name], style: { color, width: 1, dash } }));
}

function before(levels, time) {
  if (time === null) return levels;
  const kept = levels.filter(([at]) => at < time);
  return kept.length ? [...kept, [time, kept.at(-1)[1]]] : kept;
}

function after(levels, time) {
  return time === null ? [] : levels.filter(([at]) => at >= time);
}

// From the signal to the end of the program, at the price it was given for.
function programs(found, axis, center) {
  return {
    key: "program", name: "entry program", kind: "segments", style: { color: "ink", width: 1, dash: DOT },
    list: found.map((one) => [center(one.signal_time), one.arrival_price, center(one.end_time), one.arrival_price]),
  };
}

// The limit at which an entry waited, bar by bar, in the colour of its tier.
function orders(found, trades, center, step) {
  if (trades.length > MOST_ORDERS) return [];
  const owners = new Set(trades.map((trade) => trade.program_id));
  const waited = found.filter((one) => owners.has(one.program_id)).flatMap((one) => one.orders);
  return TIERS.map((_, i) => ({
    key: "order", name: "limit of the entry", kind: "segments", style: { color: `tier-${i + 1}`, width: 2.5 },
    list: waited.filter(([, tier, limit]) => tier === i + 1 && limit !== null)
      .map(([time, , limit]) => [center(time) - 0.45 * step, limit, center(time) + 0.45 * step, limit]),
  }));
}

function path(trades, side, center) {
  return {
    key: side, name: `${side} position`, kind: "segments", style: { color: side, width: 2, dash: side === "short" ? [4, 3] : [] },
    list: trades.filter((trade) => trade.side === side)
      .map((trade) => [center(trade.entry_time), trade.entry_price, center(trade.exit_time), trade.exit_price]),
  };
}

// Where a program was signalled; hollow where nothing of it was filled.
function signals(found, center) {
  return [["signal", "signal", "tall-diamond", true], ["missed", "signal, missed", "open-tall-diamond", false]].map(([key, name, shape, filled]) => ({
    key, name, kind: "marks", shape, color: "ink",
    list: found.filter((one) => one.filled_quantity > 0 === filled).map((one) => ({
      x: center(one.signal_time), y: one.arrival_price, side: one.side, trade: one.trade_id, piece: null,
      tip: () => [`${one.side} signal, ${words(one.outcome)}`, `${when(one.signal_time)} UTC`, `close ${price(one.arrival_price)}`],
    })),
  }));
}

// The number of the tier stands beside each of its fills.
function fills(found, tier, name, center) {
  return {
    key: `tier-${tier}`, name: `tier ${tier}, ${name}`, kind: "marks", shape: "triangle", color: `tier-${tier}`, text: String(tier),
    list: found.filter((fill) => fill.tier === tier).map((fill) => ({
      x: center(fill.time), y: fill.price, side: fill.side, text: String(tier), trade: fill.trade_id, piece: fill.piece,
      tip: () => [`${fill.side} entry, tier ${tier}, ${fill.liquidity}`, `${when(fill.time)} UTC`, `${price(fill.quantity)} at ${price(fill.price)}`],
    })),
  };
}

function exits(trades, reason, center) {
  const [shape, color] = EXIT_MARKS[reason];
  return {
    key: reason, name: words(reason), kind: "marks", shape, color,
    list: trades.filter((trade) => trade.exit_reason === reason).map((trade) => ({
      x: center(trade.exit_time), y: trade.exit_price, side: trade.side, trade: trade.trade_id, piece: trade.piece,
      tip: () => [
        `trade ${trade.trade_id}, ${trade.side}, ${words(reason)}`, `${when(trade.exit_time)} UTC`,
        `at ${price(trade.exit_price)}, net ${money(trade.net_pnl, { signed: true })}`,
      ],
    })),
  };
}
