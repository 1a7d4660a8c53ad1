// Many markets of one run: what each found, how much they move together, and what all of them with equal weight made.

import { get, runPath } from "../api.js";
import { draw } from "../charts.js";
import {
  count, counted, el, heading, number, percent, stateBadge, stylesheet, table, tone, verdictBadge,
} from "../ui.js";
import { filesOf, reportLink } from "./files.js";
import { endTicks, facts, figure, line, listed, loaded, missing, pair, plain, section } from "./figures.js";
import { apart, curvesOf } from "./market_curves.js";
import { labelOf, sentence, whenSeen } from "./run_words.js";

const KINDS = ["out_of_sample", "optimized", "baseline"];
// One colour per kind of result, as in the report; what is in-sample is thin.
const LOOKS = { out_of_sample: ["@outside", 2], optimized: ["@inside", 1.2], baseline: ["@muted", 1.2] };
const MOST_DRAWN = 24;
const SMALL_POINTS = 160;
const FEW_MARKETS = 16; // so few that a matrix has room for its numbers

export async function show(root, { name }, context) {
  context.title(`Markets of ${name}`);
  await stylesheet("views/market.css");
  const absent = {
    title: "No run of several markets has this name",
    todo: ["Choose one in the ", el("a", { href: "#/runs" }, "list of runs"), ", or start one with several --market options."],
  };
  await loaded(root, context, `/multi/${encodeURIComponent(name)}`, {}, (found) => page(name, found, context), absent);
}

function page(name, found, { signal, navigate }) {
  const synthetic = found.markets.some((one) => one.synthetic);
  return [
    heading(
      "Markets", el("span", { class: "muted code" }, name), found.state && stateBadge(found.state),
      synthetic && el("span", { class: "synthetic" }, "SYNTHETIC"),
      filesOf(name, { signal }),
    ),
    summary(found),
    found.summary?.length > 0 && el("section", { class: "card", "aria-label": "Summary" }, listed(found.summary.map(sentence))),
    section("Market by market", overview(found, navigate)),
    section("Together, with equal weight", ...portfolio(found, signal)),
    section("How much they move together", ...correlations(found, signal)),
    section("Each of them", ...each(found, signal)),
    found.notes?.length > 0 && section("Notes", listed(found.notes.map(sentence))),
  ];
}

function summary(found) {
  const together = found.portfolios?.out_of_sample?.rebalanced ?? null;
  const luck = found.luck;
  const bets = found.portfolios?.out_of_sample?.effective_bets ?? null;
  return facts(
    ["Markets", count(found.markets.length), verdicts(found)],
    ["Result out-of-sample", percent(together?.total_return ?? null, null, { signed: true }), "all with equal weight", together?.total_return],
    ["Sharpe", number(together?.sharpe_ratio ?? null), "of all together, out-of-sample"],
    ["Max drawdown", percent(together?.max_drawdown ?? null), "of all together"],
    ["Independent markets", number(bets, 1), "that they are worth"],
    ["Strongest by luck", number(luck?.by_luck ?? null), luck ? `${luck.strongest} shows ${number(luck.sharpe_ratio)}` : "not known"],
  );
}

function verdicts(found) {
  return Object.entries(found.verdicts ?? {}).map(([word, many]) => `${many} ${word}`).join(", ");
}

// -- Table ------------------------------------------------------------------------------------------------------------

function overview(found, navigate) {
  const address = (one) => `#/run/${encodeURIComponent(one.run)}`;
  const of = (kind, key, label, tell, about) => ({
    key: `${kind}_${key}`, label, sort: true, title: about,
    value: (one) => one[kind]?.[key] ?? null,
    cell: (one) => el("span", { class: key === "total_return" ? tone(one[kind]?.[key]) : "" }, tell(one[kind]?.[key] ?? null)),
  });
  const signed = (value) => percent(value, null, { signed: true });
  return table({
    caption: "Markets; base, opt. and out: Sharpe ratio of the baseline, optimized in-sample, out-of-sample",
    captionShown: true,
    columns: [
      { key: "label", label: "Market", heading: true, text: true, sort: true,
        cell: (one) => [el("a", { href: address(one) }, one.label), " ", el("span", { class: "muted" }, one.exchange)] },
      { key: "verdict", label: "Verdict", text: true, sort: true, cell: (one) => verdictBadge(one.verdict) },
      of("baseline", "sharpe_ratio", "Base", number, "Annual Sharpe ratio of the baseline"),
      of("optimized", "sharpe_ratio", "Opt.", number, "Annual Sharpe ratio of what the search chose, in-sample"),
      of("out_of_sample", "sharpe_ratio", "Out", number, "Annual Sharpe ratio of the stitched out-of-sample windows"),
      of("out_of_sample", "total_return", "Result out", signed, "Of the capital, out-of-sample"),
      of("out_of_sample", "max_drawdown", "Drawdown out", percent, "Largest, out-of-sample"),
      of("out_of_sample", "total_trades", "Trades out", count, "Out-of-sample"),
      { key: "p_value", label: "p", sort: true, title: "Of the permutation test", cell: (one) => number(one.p_value, 3) },
      { key: "p_value_holm", label: "p, Holm", sort: true, title: "The same, for as many tests as there are markets",
        cell: (one) => number(one.p_value_holm, 3) },
      { key: "n_trials", label: "Tried", sort: true, title: "Configurations on record for its candles", cell: (one) => count(one.n_trials) },
      { key: "views", label: "Look at", text: true, cell: (one) => el(
        "span", { class: "row" },
        el("a", { href: `${address(one)}/optimization` }, "search"), el("a", { href: `${address(one)}/validation` }, "verdict"),
        reportLink(one.run, { text: "report" }),
      ) },
    ],
    rows: found.markets,
    open: (one) => navigate(address(one)),
    cards: true,
  });
}

// -- Portfolio --------------------------------------------------------------------------------------------------------

function portfolio(found, signal) {
  const outside = found.portfolios?.out_of_sample;
  if (!outside?.rebalanced) {
    return [missing("There is no portfolio: fewer than two markets have out-of-sample results on common days.")];
  }
  const { total_return: made, sharpe_ratio: sharpe, max_drawdown: deep } = outside.rebalanced;
  const plot = el("div", { class: "plot tall" });
  const title =
    `Out-of-sample ${counted(outside.markets.length, "market")} of equal weight made ${percent(made, null, { signed: true })}, ` +
    `a Sharpe ratio of ${number(sharpe)}, ${percent(deep)} below the peak at worst`;
  const caption = el(
    "figcaption", null,
    "Drawn as equal parts that are left alone from the first day all markets share; the figures above are of parts made " +
      "equal again each day. What is in-sample is thin: it was chosen on these very bars.",
  );
  whenSeen(plot, signal, async () => {
    try {
      await drawPortfolio(plot, caption, found, signal);
    } catch (error) {
      if (error.name !== "AbortError") plot.replaceChildren(missing(`The curve did not come: ${error.message}`));
    }
  });
  return [
    el(
      "figure", { class: "card chart", "aria-labelledby": "portfolio-title" }, el("h3", { id: "portfolio-title" }, title), plot,
      caption,
    ),
    accounts(found),
  ];
}

async function drawPortfolio(plot, caption, found, signal) {
  const traces = [];
  const all = await curvesOf(found.markets.map(({ run }) => run), KINDS, signal);
  for (const kind of [...KINDS].reverse()) {
    const members = new Set(found.portfolios[kind]?.markets ?? []);
    const own = all.filter((_, at) => members.has(found.markets[at].label)).map((curves) => curves.find(({ part }) => part === kind));
    const curve = own.length > 1 && own.every(Boolean) ? apart(own) : null;
    if (!curve) continue;
    const [color, width] = LOOKS[kind];
    traces.push({ ...line(labelOf(kind), curve.time, curve.percent, color, { width }), hovertemplate: "%{y:+.2f} %" });
    if (kind !== "out_of_sample") continue;
    if (own.some(({ time, bars }) => time.length < bars)) caption.append(" Curves of many bars are thinned out: a drawdown may look deeper than that of daily closes.");
    traces.push({
      ...line("drawdown", curve.time, curve.drawdown, "@loss", { width: 1 }), yaxis: "y2", fill: "tozeroy",
      fillcolor: "@loss-area", showlegend: false, hovertemplate: "%{y:.2f} %",
    });
  }
  await draw(plot, traces, {
    showlegend: true,
    hovermode: "x unified",
    xaxis: { type: "date", anchor: "y2", hoverformat: "%Y-%m-%d" },
    yaxis: { title: { text: "result (% of the capital)" }, domain: [0.33, 1], zeroline: true },
    yaxis2: { title: { text: "drawdown (%)" }, domain: [0, 0.26], rangemode: "tozero" },
  }, { signal });
}

function accounts(found) {
  const outside = found.portfolios.out_of_sample;
  const named = [
    ["made equal again each day", outside.rebalanced, null], ["left alone", outside.apart, null],
    ...outside.markets.map((label, at) => [label, outside.accounts?.[at], outside.risk_shares?.[at] ?? null]),
  ].filter(([, account]) => account);
  return table({
    caption: `Out-of-sample on ${counted(outside.days, "common day")}, ${outside.first_day} .. ${outside.last_day}`,
    captionShown: true,
    columns: [
      { key: "name", label: "Account", heading: true, text: true, cell: ([name]) => name },
      { key: "return", label: "Result", cell: ([, one]) => el("span", { class: tone(one.total_return) }, percent(one.total_return, null, { signed: true })) },
      { key: "sharpe", label: "Sharpe", cell: ([, one]) => number(one.sharpe_ratio) },
      { key: "volatility", label: "Volatility", cell: ([, one]) => percent(one.volatility) },
      { key: "drawdown", label: "Drawdown", cell: ([, one]) => percent(one.max_drawdown) },
      { key: "risk", label: "Part of the risk", cell: ([, , share]) => (share === null ? "–" : percent(100 * share, 0)) },
    ],
    rows: named,
    cards: true,
  });
}

// -- Correlations -----------------------------------------------------------------------------------------------------

function correlations(found, signal) {
  const charts = ["out_of_sample", "optimized"]
    .map((kind) => correlationChart(kind, found.correlations?.[kind]))
    .filter(Boolean);
  if (!charts.length) return [missing("Fewer than two markets have results on common days.")];
  return [pair(...charts.map((chart) => figure(chart, signal)))];
}

function correlationChart(kind, matrix) {
  if (!matrix || matrix.markets.length < 2) return null;
  const names = matrix.markets.map(plain);
  const pairs = matrix.correlation.flatMap((row, at) => row.slice(0, at)).filter((value) => value !== null);
  const mean = pairs.length ? pairs.reduce((sum, value) => sum + value, 0) / pairs.length : null;
  return {
    title: `${labelOf(kind)}: ${number(mean)} in the mean of ${counted(pairs.length, "pair")}`,
    note:
      "Correlation of daily results; a pointer tells its range with 95 % confidence. Markets that move together are " +
      `fewer bets than they seem.${matrix.in_sample ? " In-sample: each was chosen on these bars." : ""}`,
    size: names.length > 8 ? "tall" : "",
    traces: [{
      type: "heatmap", x: names, y: names, z: matrix.correlation, zmin: -1, zmax: 1,
      colorscale: [[0, "#d55e00"], [0.5, "#f7f7f7"], [1, "#0072b2"]],
      text: matrix.correlation.map((row) => row.map((value) => (value === null ? "" : number(value)))),
      texttemplate: names.length <= FEW_MARKETS ? "%{text}" : "",
      customdata: matrix.correlation.map((row, at) => row.map((_, to) => [
        number(matrix.low[at][to]), number(matrix.high[at][to]), matrix.days[at][to],
      ])),
      hovertemplate: "%{y} and %{x}: %{z:.2f}, %{customdata[0]} to %{customdata[1]}, %{customdata[2]} days<extra></extra>",
      colorbar: { thickness: 9, outlinewidth: 0 }, hoverongaps: false, xgap: 2, ygap: 2,
    }],
    layout: {
      showlegend: false,
      hovermode: "closest",
      xaxis: { type: "category", showgrid: false, tickangle: -30 },
      yaxis: { type: "category", showgrid: false, autorange: "reversed" },
    },
  };
}

// -- Small multiples --------------------------------------------------------------------------------------------------

function each(found, signal) {
  const drawn = found.markets.slice(0, MOST_DRAWN);
  const left = found.markets.length - drawn.length;
  return [
    el(
      "p", { class: "muted" },
      "In percent of each market's own capital: ", ...KINDS.flatMap((kind, at) => [at ? ", " : "", el("span", { class: `key ${kind}` }, labelOf(kind))]), ".",
    ),
    el("div", { class: "small-charts" }, drawn.map((one) => small(one, signal))),
    left > 0 && missing(`${counted(left, "more market")} not drawn: the table above links to each.`),
  ];
}

function small(one, signal) {
  const plot = el("div", { class: "plot small" });
  const figures = one.out_of_sample;
  const told = figures
    ? `${percent(figures.total_return, null, { signed: true })} out-of-sample, Sharpe ${number(figures.sharpe_ratio)}`
    : one.no_out_of_sample ?? "no out-of-sample result";
  whenSeen(plot, signal, async () => {
    try {
      const query = { parts: [...KINDS].reverse(), points: SMALL_POINTS };
      const { series } = await get(runPath(one.run, "equity"), query, { signal });
      const times = series.flatMap(({ time }) => [time[0], time.at(-1)]).filter((time) => time !== undefined);
      const ends = times.length ? endTicks(Math.min(...times), Math.max(...times)) : {};
      await draw(plot, series.map(({ part, time, equity }) => {
        const [color, width] = LOOKS[part];
        const capital = equity[0];
        return { ...line(labelOf(part), time, equity.map((value) => 100 * (value / capital - 1)), color, { width }), hovertemplate: "%{y:+.2f} %" };
      }), {
        showlegend: false,
        hovermode: "x unified",
        margin: { l: 44, r: 8, t: 8, b: 28 },
        xaxis: { type: "date", ...ends, hoverformat: "%Y-%m-%d" },
        yaxis: { ticksuffix: " %", nticks: 5, zeroline: true },
      }, { signal, modebar: false, label: `${one.label}: ${told}` });
    } catch (error) {
      if (error.name !== "AbortError") plot.replaceChildren(missing(`Its equity did not come: ${error.message}`));
    }
  });
  return el(
    "figure", { class: "card chart" },
    el("h3", null, el("a", { href: `#/run/${encodeURIComponent(one.run)}` }, one.label)), el("p", { class: "muted told" }, told), plot,
  );
}
