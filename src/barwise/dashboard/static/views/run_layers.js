// What is drawn over and under the candles of a run, as Plotly traces: lines, fills by tier, stops, targets and trails.

import { price, words } from "../ui.js";
import { EXITS, sameTrade, TIERS } from "./run_words.js";

const TIME = "%{x|%Y-%m-%d %H:%M} UTC";
const MOST_LEVELS = 40; // trades in the window, before stops and targets would only be noise
const MOST_ORDERS = 12;
// Parts of the height: a pane of its own line, volume, and what lies between.
const PANE = 0.12;
const VOLUME = 0.09;
const GAP = 0.02;
const MOST_PANES = 2;
const RIGHT = { fixedrange: true, side: "right", automargin: false };
const LINES = [
  { color: "@short", width: 1.1 }, { color: "@long", width: 1.1 }, { color: "@muted", width: 1.3, dash: "dash" },
  { color: "@tier-2", width: 1, dash: "dot" }, { color: "@target", width: 1, dash: "dashdot" },
];
// Hollow where the level had trailed, grey where neither stop nor target decided.
const EXIT_MARKS = {
  stop_loss: ["x", "@stop"], trailing_stop: ["x-open", "@stop"], take_profit: ["circle", "@target"],
  trailing_take_profit: ["circle-open", "@target"], opposite_signal: ["square", "@muted"],
  strategy_exit: ["square-open", "@muted"], end_of_data: ["diamond", "@muted"], ruined: ["star", "@stop"],
};

// The lines of the strategy: those on the scale of prices, and those that need a pane of their own.
export function shownLines(candles) {
  const onPrices = [];
  const below = [];
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < candles.time.length; i += 1) {
    low = Math.min(low, candles.low[i]);
    high = Math.max(high, candles.high[i]);
  }
  for (const [name, values] of Object.entries(candles.lines ?? {})) {
    const known = values.filter((value) => value !== null);
    if (!known.length) continue;
    const middle = known[Math.floor(known.length / 2)];
    const isPrice = !name.includes("rsi") && middle > low * 0.3 && middle < high * 3;
    (isPrice ? onPrices : below).push([name, values]);
  }
  return { onPrices, below };
}

// Panes from top to bottom: prices, volume, one for each line that has a scale of its own.
export function layoutOf(data, lines, run, { view, small, chosen, revision }) {
  const panes = lines.below.slice(0, small ? 1 : MOST_PANES);
  const foot = panes.length * (PANE + GAP);
  const layout = {
    hovermode: "closest",
    dragmode: "pan",
    margin: { l: 8, r: 56, t: 8, b: 28 },
    uirevision: "same", // what the legend hides stays hidden; where the axes stand is told anew each time
    showlegend: !small,
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: { size: 11 } },
    xaxis: {
      type: "date", range: view.slice(), uirevision: revision, rangeslider: { visible: false },
      anchor: panes.length ? `y${panes.length + 3}` : "y2", showspikes: true, spikemode: "across", spikesnap: "cursor",
      spikethickness: 1, spikecolor: "@muted", spikedash: "dot", hoverformat: "%Y-%m-%d %H:%M UTC",
      tickangle: 0, ...(small && { nticks: 4 }),
    },
    yaxis: { ...RIGHT, uirevision: revision, domain: [foot + VOLUME + GAP, 1], tickformat: ",", nticks: 8 },
    yaxis2: { ...RIGHT, domain: [foot, foot + VOLUME], showticklabels: false, ticks: "", showgrid: false, zeroline: false },
    shapes: [],
    annotations: [paneName("volume", foot + VOLUME)],
  };
  panes.forEach(([name], i) => {
    const bottom = foot - (i + 1) * (PANE + GAP);
    const isRsi = name.includes("rsi");
    layout[`yaxis${i + 4}`] = {
      ...RIGHT, domain: [Math.max(bottom, 0), bottom + PANE], nticks: 3, ...(isRsi ? { range: [0, 100], tickvals: [30, 70] } : {}),
    };
    layout.annotations.push(paneName(words(name), bottom + PANE));
    if (isRsi) layout.shapes.push(...thresholds(run.parameters?.[run.part], `y${i + 4}`));
  });
  const told = data.overlays.trades.find((trade) => sameTrade(trade, chosen));
  if (told) {
    layout.shapes.push({
      type: "rect", xref: "x", yref: "paper", x0: told.entry_time, x1: told.exit_time, y0: 0, y1: 1,
      line: { width: 0 }, fillcolor: told.side === "long" ? "@long" : "@short", opacity: 0.12, layer: "below",
    });
  }
  return layout;
}

function paneName(text, top) {
  return {
    text, xref: "paper", x: 0, xanchor: "left", yref: "paper", y: top, yanchor: "top", showarrow: false, font: { size: 11, color: "@muted" },
  };
}

function thresholds(parameters, axis) {
  return ["rsi_long_threshold", "rsi_short_threshold"]
    .filter((name) => Number.isFinite(parameters?.[name]))
    .map((name) => ({
      type: "line", xref: "paper", x0: 0, x1: 1, yref: axis, y0: parameters[name], y1: parameters[name],
      line: { color: name.includes("long") ? "@long" : "@short", width: 1, dash: "dot" },
    }));
}

export function tracesOf(data, lines, { view, small, chosen }) {
  const { candles, overlays } = data;
  const visible = overlays.trades.filter((trade) => trade.exit_time >= view[0] && trade.entry_time <= view[1]);
  const levels = visible.length <= MOST_LEVELS ? overlays.trades : overlays.trades.filter((trade) => sameTrade(trade, chosen));
  const traces = [
    candleTrace(candles),
    volumeTrace(candles, data.width),
    ...lines.onPrices.map(([name, values], i) => lineTrace(candles, name, values, LINES[i % LINES.length], "y")),
    ...lines.below.slice(0, small ? 1 : MOST_PANES).flatMap(([name, values], i) => belowTraces(candles, name, values, `y${i + 4}`)),
    stepTrace("stop", levels, (trade) => before(trade.stops, trade.trailing_from), "@stop", "dash"),
    stepTrace("trailing stop", levels, (trade) => after(trade.stops, trade.trailing_from), "@stop", "solid"),
    stepTrace("target", levels, (trade) => trade.targets, "@target", "dash"),
    ...orderTraces(overlays.programs, levels),
    ...["long", "short"].map((side) => pathTrace(overlays.trades, side, chosen)),
    ...programTraces(overlays.programs ?? []),
    ...[1, 2, 3, 4].map((tier) => fillTrace(overlays.fills, tier)),
    ...EXITS.map((reason) => exitTrace(overlays.trades, reason)),
  ];
  // A name of its own, so that what the legend hides stays hidden while other traces come and go.
  return traces.filter((trace) => trace.x.length > 0).map((trace) => ({ uid: `of${trace.name.replace(/\W/g, "")}`, ...trace }));
}

function candleTrace(candles) {
  return {
    type: "candlestick", name: candles.timeframe, x: candles.time, open: candles.open, high: candles.high, low: candles.low,
    close: candles.close, hoverinfo: "none", showlegend: false, whiskerwidth: 0,
    increasing: { line: { color: "@gain", width: 1 }, fillcolor: "@card" },
    decreasing: { line: { color: "@loss", width: 1 }, fillcolor: "@loss" },
  };
}

function volumeTrace(candles, width) {
  return {
    type: "bar", name: "volume", x: candles.time, y: candles.volume, yaxis: "y2", width: width * 0.8, showlegend: false,
    marker: { color: "@candle", line: { width: 0 } }, opacity: 0.7, hoverinfo: "none",
  };
}

function lineTrace(candles, name, values, line, yaxis) {
  return { type: "scatter", mode: "lines", name: words(name), x: candles.time, y: values, yaxis, line, hoverinfo: "none", connectgaps: false };
}

// Where candles are put together, the band says how far the line went within each.
function belowTraces(candles, name, values, yaxis) {
  const range = candles.ranges?.[name];
  const edge = (key, more) => ({
    ...lineTrace(candles, `${name}_${key}`, range[key], { color: "@muted", width: 0 }, yaxis), showlegend: false, ...more,
  });
  const band = range && candles.coarse ? [edge("low", {}), edge("high", { fill: "tonexty", fillcolor: "@band" })] : [];
  return [...band, { ...lineTrace(candles, name, values, { color: "@ink", width: 1.1 }, yaxis), showlegend: false }];
}

// A level stands until it is moved; its last point is at the exit.
function stepTrace(name, trades, levelsOf, color, dash) {
  const x = [];
  const y = [];
  for (const trade of trades) {
    const levels = levelsOf(trade);
    for (const [time, level] of levels) {
      x.push(time);
      y.push(level);
    }
    if (levels.length) {
      x.push(levels.at(-1)[0]);
      y.push(null);
    }
  }
  return {
    type: "scatter", mode: "lines", name: name === "trailing stop" ? "trail" : name, x, y, line: { color, width: 1.5, dash, shape: "hv" },
    hovertemplate: `${name} %{y:,}<br>${TIME}<extra></extra>`, connectgaps: false,
  };
}

function before(levels, time) {
  if (time === null) return levels;
  const kept = levels.filter(([at]) => at < time);
  return kept.length ? [...kept, [time, kept.at(-1)[1]]] : kept;
}

function after(levels, time) {
  return time === null ? [] : levels.filter(([at]) => at >= time);
}

// The limit at which an entry waited, bar by bar, in the colour of its tier.
function orderTraces(programs, trades) {
  if (trades.length > MOST_ORDERS) return [];
  const owners = new Set(trades.map((trade) => trade.program_id));
  const orders = programs.filter((program) => owners.has(program.program_id)).flatMap((program) => program.orders);
  return [1, 2, 3, 4].map((tier) => {
    const own = orders.filter((order) => order[1] === tier && order[2] !== null);
    return {
      type: "scatter", mode: "markers", name: `order, tier ${tier}`, showlegend: false, x: own.map((order) => order[0]), y: own.map((order) => order[2]),
      hovertemplate: `tier ${tier} waits at %{y:,}<br>${TIME}<extra></extra>`,
      marker: { symbol: "line-ew-open", size: 9, color: `@tier-${tier}`, line: { width: 2.5 } },
    };
  });
}

function pathTrace(trades, side, chosen) {
  const x = [];
  const y = [];
  for (const trade of trades) {
    if (trade.side !== side) continue;
    x.push(trade.entry_time, trade.exit_time, null);
    y.push(trade.entry_price, trade.exit_price, null);
  }
  return {
    type: "scatter", mode: "lines", name: `${side} position`, x, y, hoverinfo: "skip",
    line: { color: `@${side}`, width: chosen === null ? 2 : 2.5 },
  };
}

// Where a program was signalled; hollow where nothing of it was filled.
function programTraces(programs) {
  return [true, false].map((filled) => {
    const chosen = programs.filter((program) => program.filled_quantity > 0 === filled);
    return {
      type: "scatter", mode: "markers", name: filled ? "signal" : "signal, missed",
      x: chosen.map((program) => program.signal_time), y: chosen.map((program) => program.arrival_price),
      customdata: chosen.map((program) => [null, program.side, words(program.outcome)]),
      hovertemplate: `%{customdata[1]} signal, %{customdata[2]}<br>${TIME}<br>close %{y:,}<extra></extra>`,
      marker: { symbol: filled ? "diamond-tall" : "diamond-tall-open", size: 9, color: "@ink", opacity: 0.75 },
    };
  });
}

function fillTrace(fills, tier) {
  const chosen = fills.filter((fill) => fill.tier === tier);
  return {
    type: "scatter", mode: "markers", name: `tier ${tier}, ${TIERS[tier - 1]}`,
    x: chosen.map((fill) => fill.time), y: chosen.map((fill) => fill.price),
    customdata: chosen.map((fill) => [fill.trade_id, fill.piece, price(fill.quantity), fill.liquidity]),
    hovertemplate: `entry, tier ${tier}, %{customdata[3]}<br>${TIME}<br>%{customdata[2]} at %{y:,}<extra></extra>`,
    marker: {
      symbol: chosen.map((fill) => (fill.side === "short" ? "triangle-down" : "triangle-up")),
      size: 11, color: `@tier-${tier}`, line: { color: "@ink", width: 0.8 },
    },
  };
}

function exitTrace(trades, reason) {
  const [symbol, color] = EXIT_MARKS[reason];
  const chosen = trades.filter((trade) => trade.exit_reason === reason);
  return {
    type: "scatter", mode: "markers", name: words(reason),
    x: chosen.map((trade) => trade.exit_time), y: chosen.map((trade) => trade.exit_price),
    customdata: chosen.map((trade) => [trade.trade_id, trade.piece, trade.net_pnl]),
    hovertemplate: `trade %{customdata[0]}, ${words(reason)}<br>${TIME}<br>at %{y:,}, net %{customdata[2]:+,.2f}<extra></extra>`,
    marker: { symbol, size: 9, color, line: { width: symbol.endsWith("open") ? 1.6 : 0 } },
  };
}
