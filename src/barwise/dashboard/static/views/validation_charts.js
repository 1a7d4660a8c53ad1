// The charts of a verdict: what was found, and what would have been found by luck. Each has its message with the
// figures as title; what is not there has no chart, and the view says why instead.

import { count, counted, money, number, percent, words } from "../ui.js";
import {
  bars, binned, dots, edgesOf, endTicks, finite, label, line, median, plain, roomy, upright,
} from "./figures.js";

const DAY_MS = 86_400_000;
const MOST_LABELS = 30; // of bars, before trade counts run into each other
const FEW_STEPS = 4; // of a whole number, before its axis shows each
const FEW = 10; // so few that an axis would show halves of markets

const made = (value) => money(value, { signed: true });

// -- Luck -------------------------------------------------------------------------------------------------------------

// What was found, in-sample and out-of-sample, on one axis with what luck alone reaches.
export function luckChart(found) {
  const { evidence, luck_line: luck } = found;
  if (luck === null || evidence.annual_sharpe === null) return null;
  const rows = [];
  if (evidence.oos_sharpe !== null) {
    const ends = found.monte_carlo?.paths?.sharpe_ratio?.percentiles;
    rows.push(["out-of-sample", evidence.oos_sharpe, "@outside", ends ? [ends.p5, ends.p95] : null]);
  }
  rows.push(["in-sample, chosen", evidence.annual_sharpe, "@inside", rangeOf(found.intervals?.sharpe_ratio)]);
  const reach = [0, luck, ...rows.flatMap(([, value, , ends]) => [value, ...(ends ?? [])])];
  const [low, high] = [Math.min(...reach), Math.max(...reach)];
  const traces = rows.map(([name, value, color, ends]) => ({
    type: "bar", orientation: "h", name, x: [value], y: [`${name} ${number(value, 2)}`], width: 0.5,
    marker: { color }, error_x: whiskers(value, ends), hovertemplate: "%{y}<extra></extra>",
  }));
  const than = evidence.annual_sharpe > luck ? "more than" : "no more than";
  return {
    title: `The Sharpe ratio found, ${number(evidence.annual_sharpe, 2)}, is ${than} luck alone reaches`,
    note: "Whiskers: the middle 95 % (in-sample) and 90 % (out-of-sample) of bootstrap samples.",
    traces,
    layout: {
      showlegend: false,
      xaxis: { title: { text: "Sharpe ratio, annual" }, range: roomy(low, high) },
      yaxis: { type: "category" },
      shapes: [upright(luck, "@luck", { dash: "dash" })],
      annotations: [label(luck, `luck alone: ${number(luck, 2)}`, 2 * luck > low + high)],
    },
  };
}

// An interval comes as a pair in one document and as {low, high} in the other.
function rangeOf(interval) {
  if (!interval) return null;
  const ends = Array.isArray(interval) ? interval : [interval.low, interval.high];
  return finite(ends).length === 2 ? ends : null;
}

function whiskers(value, ends) {
  if (!ends) return { visible: false };
  return {
    type: "data", symmetric: false, array: [Math.max(0, ends[1] - value)], arrayminus: [Math.max(0, value - ends[0])],
    color: "@ink", thickness: 1.5, width: 6,
  };
}

// -- Permutation test -------------------------------------------------------------------------------------------------

// The best of each shuffled market, and the real one as a line.
export function nullChart(test) {
  const values = finite(test.nulls);
  if (!values.length || test.real === null) return null;
  const [low, high] = [Math.min(...values, test.real), Math.max(...values, test.real)];
  const edges = edgesOf(low, high);
  const asGood = values.filter((value) => value >= test.real);
  const worse = values.filter((value) => value < test.real);
  const traces = [["worse than here", "@muted", worse], ["at least as good", "@luck", asGood]]
    .filter(([, , part]) => part.length)
    .map(([name, color, part]) => bars(name, color, edges, binned(part, edges)));
  const notes = ["Every move of this market is in each of them, in another order: nothing there can be predicted."];
  if (test.stopped_early) {
    notes.push(
      `The test ended after ${number(test.nulls.length, 0)} of ${number(test.planned, 0)}: enough had done as well ` +
        "to settle it.",
    );
  }
  const nothing = test.nulls.length - values.length;
  if (nothing) notes.push(`On ${counted(nothing, "shuffled market")} no trial kept the guards: counted, not drawn.`);
  return {
    title:
      `${number(test.beaten, 0)} of ${counted(test.nulls.length, "shuffled market")} gave the same search at least as ` +
      `much: p = ${number(test.p_value, 3)}`,
    note: notes.join(" "),
    traces,
    layout: {
      showlegend: true,
      barmode: "stack",
      bargap: 0,
      xaxis: { title: { text: `best ${plain(words(test.objective))} of each search` }, range: roomy(low, high, 0.03) },
      yaxis: {
        title: { text: "shuffled markets" }, rangemode: "tozero", ...(values.length <= FEW ? { dtick: 1 } : {}),
      },
      shapes: [upright(test.real, "@pick")],
      annotations: [label(test.real, `this market: ${number(test.real, 2)}`, 2 * test.real > low + high)],
    },
  };
}

// -- Walk-forward -----------------------------------------------------------------------------------------------------

// In-sample and out-of-sample Sharpe ratio of each window, with its out-of-sample trades.
export function windowChart(walked) {
  const windows = walked.windows;
  const trades = windows.map((window) => window.out_of_sample?.total_trades ?? 0);
  const spans = windows.map((window) => `${window.oos_start.slice(0, 10)} .. ${window.oos_end.slice(0, 10)}`);
  const labelled = windows.length <= MOST_LABELS;
  const traces = [["in-sample", "in_sample", "@inside"], ["out-of-sample", "out_of_sample", "@outside"]].map(
    ([name, part, color]) => ({
      type: "bar",
      name,
      x: windows.map((window) => String(window.number)),
      y: windows.map((window) => window[part]?.sharpe_ratio ?? null),
      marker: { color, opacity: windows.map((window) => (window.scored ? 1 : 0.35)) },
      customdata: spans.map((span, at) => [span, trades[at]]),
      hovertemplate: "window %{x}, %{customdata[0]}<br>%{y:.2f}, %{customdata[1]} out-of-sample trades",
    }),
  );
  if (labelled) Object.assign(traces[1], { text: trades.map(String), textposition: "outside", cliponaxis: false });
  const scored = windows.filter((window) => window.scored);
  const means = ["in_sample", "out_of_sample"].map((part) => {
    const known = finite(scored.map((window) => window[part]?.sharpe_ratio ?? null));
    return known.length ? number(known.reduce((sum, value) => sum + value, 0) / known.length, 2) : "n/a";
  });
  const notes = labelled ? ["Numbers: out-of-sample trades."] : [];
  if (scored.length < windows.length) {
    notes.push(
      `Faint: not scored, with fewer than ${walked.config.min_trades_per_window} trades or not searched. They are in ` +
        "the equity curve.",
    );
  }
  return {
    title: scored.length
      ? `From ${means[0]} in-sample to ${means[1]} out-of-sample, in the mean of ${counted(scored.length, "window")}`
      : "No window has enough trades to be scored",
    note: notes.join(" "),
    traces,
    layout: {
      showlegend: true,
      barmode: "group",
      hovermode: "closest",
      bargap: 0.3,
      xaxis: { title: { text: "window" }, type: "category" },
      yaxis: { title: { text: "Sharpe ratio, annual" }, zeroline: true },
    },
  };
}

// The out-of-sample pieces as one equity curve {time, equity}, every other window shaded.
export function stitchedChart(walked, curve) {
  if (!curve?.time?.length) return null;
  const shades = walked.windows.filter((_, at) => at % 2 === 0).map((window) => ({
    type: "rect", x0: window.oos_start_ms, x1: window.oos_end_ms, y0: 0, y1: 1, yref: "paper",
    fillcolor: "@grid", line: { width: 0 }, layer: "below",
  }));
  const capital = curve.equity[0];
  const start = { type: "line", x0: 0, x1: 1, xref: "paper", y0: capital, y1: capital };
  const { net_pnl: net, sharpe_ratio: ratio, total_trades: trades } = walked.out_of_sample;
  const ended = `${made(net)} with ${counted(trades, "trade")}: a Sharpe ratio of ${number(ratio, 2)}`;
  return {
    title: walked.reoptimized ? `Out-of-sample ${ended}` : `One given configuration made ${ended}`,
    note:
      "Every other window is shaded; the dotted line is the capital at the start." +
      (curve.time.length < curve.bars
        ? ` ${count(curve.time.length)} of ${counted(curve.bars, "bar")} are drawn, every high and low among them.`
        : ""),
    traces: [{
      ...line("out-of-sample equity", curve.time, curve.equity, "@outside"),
      hovertemplate: "%{y:,.2f}<extra></extra>",
    }],
    layout: {
      showlegend: false,
      hovermode: "x unified",
      xaxis: { type: "date", hoverformat: "%Y-%m-%d %H:%M UTC" },
      yaxis: { title: { text: "equity (quote currency)", standoff: 14 } },
      shapes: [...shades, { ...start, line: { color: "@muted", width: 1, dash: "dot" } }],
    },
  };
}

// Each parameter that ever changed, as steps over the windows.
export function driftCharts(walked) {
  const starts = walked.windows.map((window) => window.oos_start.slice(0, 10));
  const end = walked.windows.at(-1)?.oos_end.slice(0, 10);
  return Object.entries(walked.drift).map(([name, values]) => {
    const known = finite(values);
    const range = known.length ? `${brief(Math.min(...known))} to ${brief(Math.max(...known))}` : "no value";
    return {
      title: `${name}: ${range}`,
      size: "small",
      traces: [{
        ...line(name, [...starts, end], [...values, values.at(-1)], "@outside", { shape: "hv" }),
        hovertemplate: "%{y}<extra></extra>",
      }],
      layout: {
        showlegend: false, margin: { l: 40, r: 10, t: 8, b: 24 },
        xaxis: { type: "date", ...endTicks(starts[0], end) },
        yaxis: known.every(Number.isInteger) && spanOf(known) <= FEW_STEPS ? { dtick: 1 } : { nticks: 5 },
      },
    };
  });
}

const spanOf = (values) => Math.max(...values) - Math.min(...values);
const brief = (value) => String(Number(value.toPrecision(4)));

// -- Overfitting of the search ----------------------------------------------------------------------------------------

// Where the best of one half of the data ranks in the other half; bins of the logit of its rank.
export function pboChart(found, splits) {
  if (found.pbo === null || !splits) return null;
  const { edges, counts } = splits.logits;
  const below = counts.map((count, at) => (edges[at] + edges[at + 1] <= 0 ? count : 0));
  const above = counts.map((count, at) => count - below[at]);
  return {
    title:
      `The best of one half is below the middle of the other in ${percent(100 * found.pbo, 0)} of the splits`,
    note:
      `${counted(found.splits, "split")} of ${counted(found.trials, "trial")} in ${splits.blocks} blocks. Without any edge it is about half; only ` +
      "10 % or less says something.",
    traces: [
      bars("below the middle", "@loss", edges, below),
      bars("above the middle", "@gain", edges, above),
    ],
    layout: {
      showlegend: true,
      barmode: "stack",
      bargap: 0,
      xaxis: { title: { text: "logit of its rank in the other half" } },
      yaxis: { title: { text: "splits" }, rangemode: "tozero" },
      shapes: [upright(0, "@ink", { width: 1 })],
    },
  };
}

// What the chosen trial had in one half against what it had in the other, with the line through all splits.
export function degradationChart(found, splits) {
  if (!splits || found.probability_of_loss === null) return null;
  const { chosen_in: x, other_half: y, slope, intercept } = splits;
  const traces = [{
    ...dots("splits", x, y, "@done", { opacity: 0.5 }),
    hovertemplate: "%{x:.2f} in one half, %{y:.2f} in the other<extra></extra>",
  }];
  if (slope !== null && x.length) {
    const ends = [Math.min(...x), Math.max(...x)];
    traces.push({
      ...line("least squares", ends, ends.map((end) => slope * end + intercept), "@ink"), hoverinfo: "skip",
    });
  }
  const notes = slope !== null && slope < 0 ? ["The better it looked, the worse it went."] : [];
  if (x.length < found.splits) {
    notes.push(
      `${number(x.length, 0)} of ${counted(found.splits, "split")} are drawn, evenly spread; the line is that of all.`,
    );
  }
  return {
    title:
      `The chosen trial loses in the other half in ${percent(100 * found.probability_of_loss, 0)} of the splits`,
    note: notes.join(" "),
    traces,
    layout: {
      showlegend: true,
      hovermode: "closest",
      xaxis: { title: { text: "Sharpe ratio where it was chosen, annual" }, zeroline: false },
      yaxis: { title: { text: "in the other half" }, zeroline: true },
    },
  };
}

// The Sharpe ratio of each cross-validated path, with 0 and their median; null where no path traded.
export function pathChart(sharpes) {
  const known = finite(sharpes ?? []);
  if (!known.some((value) => value !== 0)) return null;
  const middle = median(known);
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const groups = [["0 or less", "@loss", (value) => value <= 0], ["above 0", "@gain", (value) => value > 0]];
  const traces = groups.map(([name, color, belongs]) => {
    const rows = known.map((value, at) => [value, at + 1]).filter(([value]) => belongs(value));
    return {
      ...dots(name, rows.map(([value]) => value), rows.map(([, path]) => path), color, { size: 11, opacity: 1 }),
      hovertemplate: "path %{y}: %{x:.2f}<extra></extra>",
    };
  });
  const above = known.filter((value) => value > 0).length;
  return {
    title:
      `In ${above} of ${counted(known.length, "cross-validated path")} the Sharpe ratio is above 0; its median is ` +
      number(middle, 2),
    note:
      "Each path is the whole span, put together from test parts; in each, the configuration with the best Sharpe ratio " +
      "of the training parts was traded. Dots on both sides of 0 say that what is chosen depends on where one looks.",
    size: "low",
    traces: traces.filter((trace) => trace.x.length),
    layout: {
      showlegend: true,
      hovermode: "closest",
      xaxis: { title: { text: "Sharpe ratio, annual" }, range: roomy(low, high, 0.08) },
      yaxis: { title: { text: "path" }, tickvals: known.map((_, at) => at + 1), range: [known.length + 0.7, 0.3] },
      shapes: [upright(0, "@ink", { width: 1 }), upright(middle, "@outside", { dash: "dash" })],
      annotations: [label(middle, `median: ${number(middle, 2)}`, 2 * middle > low + high)],
    },
  };
}

// -- Monte Carlo ------------------------------------------------------------------------------------------------------

// How else the out-of-sample returns could have come.
export function fanChart(paths, barMs) {
  const days = paths.points.map((point) => (point * barMs) / DAY_MS);
  const traces = [];
  for (const [low, high, color] of [[5, 95, "@band"], [25, 75, "@band-inner"]]) {
    const edge = { type: "scatter", mode: "lines", x: days, line: { width: 0, color }, hoverinfo: "skip" };
    traces.push({ ...edge, y: paths.fan[`p${low}`], showlegend: false });
    traces.push({
      ...edge, y: paths.fan[`p${high}`], name: `${low} to ${high} % of the paths`, fill: "tonexty", fillcolor: color,
    });
  }
  traces.push({ ...line("median path", days, paths.fan.p50, "@muted", { dash: "dot" }), hovertemplate: "%{y:.4f}" });
  traces.push({ ...line("what happened", days, paths.observed, "@outside"), hovertemplate: "%{y:.4f}" });
  return {
    title:
      `${percent(paths.loss_probability, 0)} of ${number(paths.resamples, 0)} other histories end below their start; one ` +
      `in twenty falls by ${percent(paths.max_drawdown.percentiles.p95)} or more`,
    note:
      `Blocks of the out-of-sample returns, ${number(paths.block, 0)} bars long in the mean, drawn again. ` +
      `${percent(paths.ruin_probability)} of them lose half of the money at some time.`,
    traces,
    layout: {
      showlegend: true,
      hovermode: "x unified",
      xaxis: { title: { text: "days traded out-of-sample" } },
      yaxis: { title: { text: "equity, start = 1", standoff: 14 } },
    },
  };
}

// Drawdowns of the same trades in other orders.
export function drawdownChart(found) {
  const { edges, counts, percentiles } = found.drawdown;
  const [deep, real] = [percentiles.p95, found.observed_drawdown];
  return {
    title:
      `The same trades in other orders: one in twenty falls by ${percent(deep)} or more; ${percent(real)} happened`,
    note:
      `${number(found.resamples, 0)} orders of ${counted(found.trades, "trade")}; the final equity is the same in all ` +
      "of them.",
    traces: [bars("orders", "@done", edges, counts, " %")],
    layout: {
      showlegend: false,
      bargap: 0,
      xaxis: { title: { text: "deepest drawdown of closed trades (%)" }, rangemode: "tozero" },
      yaxis: { title: { text: "orders" }, rangemode: "tozero" },
      shapes: [upright(real, "@pick"), upright(deep, "@ink", { dash: "dot" })],
      annotations: [label(real, "what happened", real < deep), label(deep, "95 %", real >= deep)],
    },
  };
}

// The net result where some entries are missed.
export function missedChart(found) {
  const { edges, counts, percentiles } = found.result;
  const whole = found.net_pnl;
  const [low, high] = [edges[0], edges.at(-1)];
  return {
    title:
      `With ${percent(found.missed_share, 0)} of the trades missed, one time in twenty ${made(percentiles.p5)} ` +
      `or less is left of ${made(whole)}`,
    note:
      `${number(found.resamples, 0)} times, each trade missed by chance. ${percent(found.loss_probability)} of them lose ` +
      `money; without the best trade it is ${made(found.without_best)}.`,
    traces: [bars("results", "@done", edges, counts)],
    layout: {
      showlegend: false,
      bargap: 0,
      xaxis: { title: { text: "net result (quote currency)" }, range: roomy(Math.min(low, whole), Math.max(high, whole), 0.03) },
      yaxis: { title: { text: "samples" }, rangemode: "tozero" },
      shapes: [upright(whole, "@pick"), upright(0, "@ink", { width: 1 })],
      annotations: [label(whole, "none missed", 2 * whole > low + high)],
    },
  };
}

// -- Less kind worlds -------------------------------------------------------------------------------------------------

// What is left of the out-of-sample result when costs are higher or entries come later.
export function scenarioChart(scenarios) {
  const known = scenarios.filter((one) => one.net_pnl !== null);
  if (!known.length) return null;
  const rows = [...known].reverse();
  const losing = known.filter((one) => one.net_pnl <= 0).length;
  return {
    title: losing
      ? `It loses money in ${losing} of ${counted(known.length, "world")}`
      : `It makes money in all ${counted(known.length, "world")}`,
    note: "The out-of-sample trades again, with other costs or a later entry; nothing is searched anew.",
    traces: [{
      type: "bar",
      orientation: "h",
      y: rows.map((one) => one.name),
      x: rows.map((one) => one.net_pnl),
      text: rows.map((one) => made(one.net_pnl)),
      textposition: "auto",
      constraintext: "none",
      cliponaxis: false,
      marker: { color: rows.map((one) => (one.net_pnl > 0 ? "@gain" : "@loss")) },
      customdata: rows.map((one) => one.trades),
      hovertemplate: "%{y}: %{x:+,.2f} with %{customdata} trades<extra></extra>",
    }],
    layout: {
      showlegend: false,
      hovermode: "closest",
      bargap: 0.25,
      margin: { l: 44, r: 40, t: 20, b: 32 },
      xaxis: {
        title: { text: "net result out-of-sample (quote currency)" }, zeroline: true,
        range: roomy(Math.min(0, ...rows.map((one) => one.net_pnl)), Math.max(0, ...rows.map((one) => one.net_pnl)), 0.14),
      },
      yaxis: { type: "category" },
    },
  };
}
