// The verdict of a run and everything behind it: the word and why, each test beside its threshold, and the charts that
// show what luck alone would have done. What was not run says so instead of leaving a gap.

import { runPath } from "../api.js";
import { counted, el, heading, market, money, number, percent, price, stylesheet, verdictBadge, words } from "../ui.js";
import { filesOf } from "./files.js";
import { facts, figure, listed, loaded, missing, pair, result, section, sheet } from "./figures.js";
import { sentence } from "./run_words.js";
import {
  degradationChart, drawdownChart, driftCharts, fanChart, luckChart, missedChart, nullChart, pathChart, pboChart,
  scenarioChart, stitchedChart, windowChart,
} from "./validation_charts.js";

// A verdict is never told by colour alone: each state of a test has a sign and a word.
const SIGNS = { passed: "✓", failed: "✗", "no value": "–", "no limit": "·" };
const INTERVALS = { sharpe_ratio: "Sharpe ratio, annual", total_return: "return", max_drawdown: "max drawdown" };
const RULE =
  "TOO LITTLE DATA: fewer than 30 trades, fewer than 3 out-of-sample windows with enough trades, or a span shorter than " +
  "the minimum track record; then nothing else is claimed. LIKELY OVERFIT: the permutation test gives p above 20 %, or " +
  "the out-of-sample Sharpe ratio is not above 0, or the deflated Sharpe ratio is below 50 % while more than half of " +
  "all splits say overfitting. LIKELY REAL: p of 5 % or less, an out-of-sample probability above 80 %, and still " +
  "positive with twice the slippage. UNPROVEN: the rest.";
const CANNOT_KNOW =
  "No verdict knows the order of prices inside a bar, what your own orders would have done to the market, a venue that " +
  "fails, a market that changes, or the trials that nobody recorded.";

export async function show(root, { name }, context) {
  context.title(`Validation of ${name}`);
  const live = el("a", { href: `#/run/${encodeURIComponent(name)}/live` }, "its stages");
  const absent = {
    title: "No verdict of this run",
    todo: ["The verdict has not been reached or was not asked for. Look at ", live, ", or give the same command again: it goes on where it was."],
  };
  await stylesheet("views/validation.css");
  await loaded(root, context, runPath(name, "validation"), {}, (found) => page(name, found, context), absent);
}

function page(name, found, context) {
  const { signal } = context;
  const walked = found.walk_forward;
  return [
    heading("Validation", market(found.market), el("span", { class: "muted code" }, name), filesOf(name, { signal })),
    verdict(found),
    section("Tests", ...tests(found.tests)),
    section(
      "Luck and shuffled markets",
      el("p", null, luckSentence(found.evidence)),
      pair(figure(luckChart(found), signal), shuffled(found.permutation, signal)),
    ),
    section("Walk-forward", ...(walked ? walk(walked, found.stitched, signal) : [missing(sentence(whyNoWalk(found)))])),
    section("Overfitting of the search", ...selection(found, signal)),
    section("Other histories", ...histories(found, signal)),
    section("Less kind worlds", ...worlds(found, signal)),
    found.look_ahead && section("Look-ahead", el("p", null, found.look_ahead.text)),
    found.notes?.length > 0 && section("Notes", listed(found.notes.map(sentence))),
    section("The rule and how often it is wrong", ...rule(found.error_rates)),
  ];
}

// -- Verdict and tests ------------------------------------------------------------------------------------------------

function verdict(found) {
  const [first, ...others] = (found.reasons ?? []).map(sentence);
  const deciding = found.tests.filter((test) => test.decides);
  const passed = deciding.filter((test) => test.passed).length;
  const kind = found.verdict.toLowerCase().replaceAll(" ", "-");
  return el(
    "section", { class: `card verdict-card ${kind}`, "aria-labelledby": "verdict-word" },
    el(
      "div", { class: "because" },
      el("h2", { id: "verdict-word" }, verdictBadge(found.verdict)),
      first && el("p", { class: "first" }, first),
      listed(others),
      el("p", { class: "muted" }, `${passed} of ${counted(deciding.length, "deciding test")} passed.`),
    ),
    el(
      "div", { class: "beside-it" },
      found.would_change?.length > 0 && [el("h3", null, "What would change it"), listed(found.would_change.map(sentence))],
      found.error_rate && [el("h3", null, "How often this word is wrong"), el("p", null, found.error_rate)],
    ),
  );
}

function tests(all) {
  const header = ["test", "<outcome", "number", "<threshold", "~what it means"];
  const rows = (decides) =>
    all.filter((test) => test.decides === decides).map((test) => {
      const found = stateOf(test);
      const kind = found === "passed" || found === "failed" ? found : "open";
      const limit = test.threshold === "decides nothing" ? "" : test.threshold;
      const word = el("span", { class: `test-${kind}` }, `${SIGNS[found]} ${found}`);
      return [test.name, word, shown(test), limit, sentence(test.meaning)];
    });
  return [
    sheet("The rule looks at these", header, rows(true), { cards: true }),
    sheet("Beside them, deciding nothing", header, rows(false), { cards: true }),
  ];
}

function stateOf(test) {
  if (test.passed !== null) return test.passed ? "passed" : "failed";
  return test.value === null ? "no value" : "no limit";
}

// The number of a test in its unit.
function shown(test) {
  if (test.value === null) return "n/a";
  if (["trades", "windows"].includes(test.unit)) return number(test.value, 0);
  if (test.unit === "share") return percent(100 * test.value);
  if (test.unit === "years") return years(test.value);
  return test.unit === "money" ? money(test.value, { signed: true }) : number(test.value, 2);
}

function years(value) {
  return value < 1 ? `${number(12 * value, 1)} months` : `${number(value, 1)} years`;
}

function luckSentence(evidence) {
  const are = evidence.n_trials === 1 ? "is" : "are";
  return (
    `${counted(evidence.n_trials, "configuration")} ${are} on record for these candles; over ${years(evidence.years)} ` +
    `the best of so many without any edge is expected to show a Sharpe ratio of ${number(evidence.luck_line)}. This one ` +
    `shows ${number(evidence.annual_sharpe)}.`
  );
}

function shuffled(test, signal) {
  if (!test) {
    return missing(
      "Not run. The same search on shuffled markets would say what searching alone finds; without it nothing is more " +
        "than UNPROVEN.",
    );
  }
  const chart = figure(nullChart(test), signal);
  return chart ?? missing("No trial kept the guards, here or on the shuffled markets: there is nothing to draw.");
}

// -- Walk-forward -----------------------------------------------------------------------------------------------------

function whyNoWalk(found) {
  return found.notes?.find((note) => note.startsWith("no walk-forward")) ?? "no walk-forward was made";
}

function walk(walked, curve, signal) {
  const total = walked.out_of_sample;
  const drift = driftCharts(walked);
  const parts = walked.reoptimized
    ? []
    : [el("p", { class: "warning", role: "note" }, "STABILITY CHECK, NOT OUT-OF-SAMPLE: every window traded the same given configuration.")];
  return [
    ...parts,
    facts(
      ["Net result", money(total.net_pnl, { signed: true }), counted(total.total_trades, "trade")],
      ["Sharpe", number(total.sharpe_ratio), "of the stitched series, annual"],
      ["Max drawdown", percent(total.max_drawdown), "of the stitched series"],
      ["Consistency", percent(100 * walked.consistency_score, 0), `of windows made money${between(walked.consistency_interval)}`],
      ["Efficiency", number(walked.efficiency), "out-of-sample Sharpe over in-sample Sharpe"],
      ["Stability", number(walked.stability_score), "of the parameters, 1 = never changed"],
    ),
    pair(
      figure(windowChart(walked), signal),
      figure(stitchedChart(walked, curve), signal) ??
        missing("The equity of the windows is not there any more, or no window had a bar to trade."),
    ),
    el("details", null, el("summary", null, "All windows as a table"), windowTable(walked)),
    ...(drift.length
      ? [
        el("h3", null, "What each window chose"),
        el("p", { class: "muted" }, "A parameter that jumps from window to window was fitted to noise."),
        el("div", { class: "small-charts" }, ...drift.map((chart) => figure(chart, signal))),
      ]
      : walked.reoptimized ? [missing("Every window chose the same parameters.")] : []),
  ];
}

function between(interval) {
  if (!interval || interval.includes(null)) return "";
  return `; ${percent(100 * interval[0], 0)} to ${percent(100 * interval[1], 0)} with 90 % confidence`;
}

function windowTable(walked) {
  const header = [
    "window", "<in-sample", "<out-of-sample", "trials", "Sharpe in", "Sharpe out", "net out", "drawdown out",
    "trades out", "<scored",
  ];
  const day = (text) => text.slice(0, 10);
  const rows = walked.windows.map((window) => {
    const { in_sample: inside, out_of_sample: outside } = window;
    return [
      String(window.number), `${day(window.is_start)} .. ${day(window.is_end)}`,
      `${day(window.oos_start)} .. ${day(window.oos_end)}`, number(window.trials, 0), number(inside?.sharpe_ratio),
      number(outside?.sharpe_ratio), outside ? result(outside.net_pnl) : "n/a", percent(outside?.max_drawdown),
      number(outside?.total_trades ?? 0, 0), window.scored ? "yes" : "no",
    ];
  });
  return sheet("The windows; spans are half-open, every part starts from the same capital", header, rows);
}

// -- Overfitting ------------------------------------------------------------------------------------------------------

function selection(found, signal) {
  const chosen = found.selection;
  if (!chosen) return [missing("Not looked at: the search was not part of this verdict.")];
  const charts = [
    figure(pboChart(chosen, found.overfitting), signal), figure(degradationChart(chosen, found.overfitting?.degradation), signal),
  ].filter((chart) => chart !== null);
  const sharpes = (chosen.path_sharpes ?? []).filter((value) => value !== null);
  const notes = [`${number(chosen.trials, 0)} of ${counted(chosen.distinct, "configuration")} of the search were looked at.`];
  if (!sharpes.length) notes.push("The span is too short for cross-validated paths.");
  if (chosen.spa !== null) {
    notes.push(
      `Hansen's test of the trials that were fixed beforehand: p = ${number(chosen.spa, 3)}; White's reality check: ` +
        `${number(chosen.reality_check, 3)}.`,
    );
  }
  const nothing =
    chosen.pbo === null
      ? missing("The trials cannot be compared: too few bars, or fewer than two of them traded.")
      : missing(
        `${percent(100 * chosen.pbo)} of the splits say overfitting. How they are spread was not kept when this run was ` +
          "made: give the same command again with --from 8.",
      );
  return [
    charts.length ? pair(...charts) : nothing,
    el("p", null, notes.join(" ")),
    figure(pathChart(chosen.path_sharpes), signal),
  ];
}

// -- Monte Carlo ------------------------------------------------------------------------------------------------------

function histories(found, signal) {
  const { paths, reshuffled, missed } = found.monte_carlo ?? {};
  const barMs = barLength(found.market.timeframe);
  return [
    pair(
      paths
        ? figure(fanChart(paths, barMs), signal)
        : missing("No other histories: there is no out-of-sample result of more than 30 bars that varies."),
      reshuffled
        ? figure(drawdownChart(reshuffled), signal)
        : missing("No reshuffled trades: fewer than two were made."),
      missed ? figure(missedChart(missed), signal) : null,
      intervals(found),
    ),
    missing("None of these is a probability of an edge: a lucky sample stays lucky in all of its resamples."),
  ];
}

const UNITS_MS = { M: 60_000, H: 3_600_000, D: 86_400_000, W: 604_800_000 };

// Milliseconds of one bar: "5M" is five minutes.
function barLength(timeframe) {
  return Number(timeframe.slice(0, -1)) * UNITS_MS[timeframe.at(-1)];
}

function intervals(found) {
  const rows = Object.entries(found.intervals ?? {}).map(([name, ends]) => {
    const inUnit = (value) => (name === "sharpe_ratio" ? number(value) : percent(value));
    return [INTERVALS[name] ?? words(name), inUnit(ends[0]), inUnit(found.in_sample?.[name]), inUnit(ends[1])];
  });
  return rows.length
    ? sheet("Bootstrap intervals of the chosen result, in-sample, 95 %", ["figure", "low", "found", "high"], rows)
    : null;
}

// -- Less kind worlds -------------------------------------------------------------------------------------------------

function worlds(found, signal) {
  const scenarios = found.scenarios ?? [];
  const jitters = found.jitters ?? [];
  const base = scenarios[0]?.net_pnl ?? null;
  const table = scenarios.length
    ? sheet(
      "The out-of-sample pieces again, each from the same capital, so the sum is not that of the equity",
      ["world", "net result", "difference", "trades"],
      scenarios.map((one, at) => [
        one.name, result(one.net_pnl), at && base !== null ? result(one.net_pnl - base) : "", number(one.trades, 0),
      ]),
    )
    : missing("Without out-of-sample pieces there is nothing to stress.");
  const around = jitters.length
    ? sheet(
      "The neighbourhood of the chosen strategy, in-sample",
      ["every parameter", "tried", "with a profit", "median Sharpe", "worst tenth"],
      jitters.map((one) => [
        `up to ${percent(100 * one.share, 0)} off`, number(one.tried, 0), percent(100 * one.profitable, 0),
        number(one.median), number(one.worst_decile),
      ]),
    )
    : missing("The neighbourhood of the chosen strategy could not be tried.");
  return [pair(figure(scenarioChart(scenarios), signal), el("div", { class: "stacked" }, table, around))];
}

// -- The rule ---------------------------------------------------------------------------------------------------------

function rule(rates) {
  const parts = [el("p", null, RULE)];
  if (rates) {
    const rows = rates.markets.map((row) => [
      row.market, row.sharpe ? number(row.sharpe, 1) : "none", number(row.years, 1), number(row.runs, 0),
      percent((100 * row.likely_real) / row.runs),
    ]);
    parts.push(
      sheet(
        `Measured on ${rates.measured} with barwise ${rates.barwise}`,
        ["market", "true Sharpe", "years", "runs", "LIKELY REAL"], rows,
      ),
    );
  }
  return [...parts, missing(CANNOT_KNOW)];
}
