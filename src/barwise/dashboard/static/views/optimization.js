// How a run searched: what was tried and what came of it, which parameters mattered, where the good region lies, how
// steep it is around the choice, and how often these candles were searched before.

import { draw } from "../charts.js";
import { runPath } from "../api.js";
import {
  count, counted, duration, el, empty, heading, market, money, number, percent, price, tabs, when, words,
} from "../ui.js";
import { filesOf } from "./files.js";
import { facts, figure, listed, loaded, missing, pair, section, setting, sheet, told } from "./figures.js";
import {
  frontChart, historyChart, importanceChart, pairChart, parallelChart, plateauChart, rungChart, sliceChart,
} from "./optimization_charts.js";
import { sentence } from "./run_words.js";

export async function show(root, { name }, context) {
  context.title(`Optimization of ${name}`);
  const absent = {
    title: "Nothing was searched in this run",
    todo: [
      "The search has not begun or was not asked for. Look at ",
      el("a", { href: `#/run/${encodeURIComponent(name)}/live` }, "its stages"), ", or start a ",
      el("a", { href: "#/new" }, "new run"), " with the stages 7.1, 7.2 and 7.3.",
    ],
  };
  await loaded(root, context, runPath(name, "optimization"), {}, (found) => page(name, found, context), absent);
}

function page(name, found, { signal }) {
  const head = heading("Optimization", market(found.market), el("span", { class: "muted code" }, name), filesOf(name, { signal }));
  if (!found.stages.length) {
    return [head, empty("No stage has ended yet", "Trials are shown live while the search goes on.")];
  }
  const { name: objective, direction } = found.objectives[0];
  return [
    head,
    summary(found, objective),
    section("The course of the search", history(found, objective, signal), stageTable(found)),
    section("What mattered", ...importances(found, signal)),
    section("Where the good trials lie", ...places(found, signal)),
    found.front.length > 0 && section("Several objectives", ...found.front.flatMap((one) => front(one, signal))),
    section("Around the choice", ...around(found.plateau, objective, direction, signal)),
    found.top.length > 0 && section("The best beside each other", leaders(found.top)),
    section("Parameters before and after", parameters(found.parameters)),
    section("Rungs and giving up", ...rungs(found, signal)),
    section("Ledger of these candles", ...ledger(found)),
    found.notes.length > 0 && section("Notes", listed(found.notes.map(sentence))),
  ];
}

function summary(found, objective) {
  const [first, last] = [found.stages[0], found.stages.at(-1)];
  const trials = found.stages.reduce((sum, stage) => sum + stage.num_trials, 0);
  const pruned = found.stages.reduce((sum, stage) => sum + stage.pruned, 0);
  const kept = found.plateau?.kept ?? null;
  return facts(
    [`Best ${words(objective)}`, told(objective, last.best_value), `from ${told(objective, first.base_value)} at the start`],
    ["Luck alone reaches", number(found.luck_line, 2), `Sharpe ratio, with ${counted(found.n_trials, "configuration")} on record`],
    ["Trials", count(trials), `${count(pruned)} given up early`],
    ["Neighbours that hold", kept === null ? "n/a" : percent(kept, 0), found.plateau ? `of ${count(found.plateau.neighbours)}, one step around` : "not looked at"],
    ["Time", found.seconds === null ? "n/a" : duration(1000 * found.seconds), found.interrupted ? "interrupted" : "all stages"],
  );
}

// -- Course -----------------------------------------------------------------------------------------------------------

function history(found, objective, signal) {
  return found.history
    ? figure(historyChart(found.history, objective), signal)
    : missing("The single trials are not there any more, so their course cannot be drawn.");
}

function stageTable(found) {
  const header = [
    "stage", "<sampler", "~searched", "trials", "to the end", "given up", "broke a guard", "no value", "before", "best",
    "trades", "net result",
  ];
  const rows = found.stages.map((stage) => [
    `${stage.stage}${stage.interrupted ? " (interrupted)" : ""}`, stage.sampler,
    stage.space.map((one) => one.name).join(", "), count(stage.num_trials),
    count(stage.states?.complete ?? null), count(stage.states?.pruned ?? stage.pruned),
    count(stage.states?.infeasible ?? null), count(stage.states?.undefined ?? null),
    told(stage.objective.split("+")[0], stage.base_value), told(stage.objective.split("+")[0], stage.best_value),
    count(stage.total_trades), money(stage.net_pnl, { signed: true }),
  ]);
  return sheet("Stages; a stage's first row is its start, so states count one more than trials", header, rows, { cards: true });
}

// -- What mattered ----------------------------------------------------------------------------------------------------

function importances(found, signal) {
  if (!found.importance.length) return [missing("Without the single trials it is not known what mattered.")];
  const nodes = found.importance.map((one) => (
    figure(importanceChart(one), signal) ?? missing(`Stage ${one.stage}: ${sentence(one.reason)}`)
  ));
  return [pair(...nodes)];
}

// -- Places -----------------------------------------------------------------------------------------------------------

function places(found, signal) {
  if (!found.parallel.length) return [missing("Without the single trials their places cannot be drawn.")];
  const entries = found.parallel.map((parallel) => ({
    label: `Stage ${parallel.stage}`,
    show: (panel) => panel.append(...placesOf(parallel, found, signal)),
  }));
  return [entries.length > 1 ? tabs(entries, { label: "Stages", chosen: 0 }) : el("div", null, placesOf(found.parallel[0], found, signal))];
}

function placesOf(parallel, found, signal) {
  if (!parallel.ranked || !parallel.axes.length) return [missing("No trial of this stage was run to the end and has a value.")];
  const pairs = found.pairs.filter(({ stage }) => stage === parallel.stage);
  const slices = parallel.axes.map((_, at) => figure(sliceChart(parallel, at), signal));
  return [
    parallelFigure(parallel, signal),
    pairs.length
      ? pair(...pairs.map((one) => figure(pairChart(one, parallel.objective, parallel.direction), signal)))
      : missing("No pair of parameters stands out: what mattered is not known."),
    el(
      "details", null, el("summary", null, `Each of ${counted(slices.length, "parameter")} by itself`),
      el("div", { class: "small-charts" }, slices),
    ),
  ];
}

// Clicking an axis keeps the trials that pass there; the chart is then drawn anew in place.
function parallelFigure(parallel, signal) {
  const brushes = new Map();
  const options = { onClick, modebar: false };
  const frame = figure({ ...parallelChart(parallel, brushes), options }, signal);
  const plot = frame.querySelector(".plot");
  const reset = el("button", { type: "button", hidden: true, onclick: () => { brushes.clear(); redraw(); } }, "Show all trials again");
  frame.append(reset);

  function onClick({ points: [spot] }) {
    if (spot.data.name !== "axes") return;
    if (brushes.get(spot.x) === spot.y) brushes.delete(spot.x);
    else brushes.set(spot.x, spot.y);
    redraw();
  }

  function redraw() {
    const chart = parallelChart(parallel, brushes);
    frame.querySelector("h3").textContent = chart.title;
    reset.hidden = !brushes.size;
    draw(plot, chart.traces, chart.layout, { signal, ...options });
  }
  return frame;
}

// -- Front ------------------------------------------------------------------------------------------------------------

function front(found, signal) {
  // In the order of `points`: best first objective first, of equals the best second one.
  const rows = found.trial.map((_, row) => row).filter((row) => found.on_front[row]).sort((a, b) => {
    const decides = found.objectives.find(({ values }) => values[a] !== values[b]);
    return decides ? (decides.values[b] - decides.values[a]) * (decides.direction === "minimize" ? -1 : 1) : a - b;
  });
  const names = Object.keys(found.points[0] ?? {});
  const table = sheet(
    "Trials on the front",
    ["trial", ...found.objectives.map(({ name }) => words(name)), ...names],
    rows.map((row, at) => [
      `${count(found.trial[row] + 1)}${row === found.chosen ? " (chosen)" : ""}`,
      ...found.objectives.map(({ name, values }) => told(name, values[row])),
      ...names.map((name) => setting(found.points[at]?.[name])),
    ]),
    { most: 24 },
  );
  return [figure(frontChart(found), signal), table];
}

// -- Around the choice ------------------------------------------------------------------------------------------------

function around(plateau, objective, direction, signal) {
  if (!plateau) return [missing("Not looked at: the search was interrupted, or none of its trials kept all guards.")];
  const sign = direction === "minimize" ? -1 : 1;
  const tell = (value) => told(objective, value === null ? null : sign * value);
  return [
    el(
      "p", null,
      `Around ${tell(plateau.value)}, ${counted(plateau.neighbours, "neighbour")} were run: the best has ` +
        `${tell(plateau.best)}, the worst ${tell(plateau.worst)}, the median ${tell(plateau.median)}.` +
        (plateau.undefined ? ` ${counted(plateau.undefined, "neighbour")} without a value.` : ""),
    ),
    pair(
      figure(plateauChart(plateau, objective, direction), signal) ?? missing("No neighbour has a value."),
      sheet(
        "What one step in each parameter leaves",
        ["parameter", "chosen", "step", "one step down", "one step up"],
        plateau.parameters.map((one) => [one.name, price(one.point), price(one.step), tell(one.down), tell(one.up)]),
      ),
    ),
  ];
}

// A peak stands alone; a result that can be trusted stands among others that are as good, in every third of the span.
function leaders(top) {
  const [first] = top;
  const share = (value) => (value === null ? "n/a" : percent(100 * value, 0));
  return sheet(
    `The best ${counted(top.length, "different result")} of all stages. Steps kept: of the neighbours one step away in one parameter, ` +
      "those that keep 80 % of the objective",
    [
      "rank", "<", ...Object.keys(first.objectives).map(words), "trades", "net result", "drawdown", "steps kept", "Sharpe, first third",
      "second third", "last third", ...Object.keys(first.parameters),
    ],
    top.map((one) => [
      count(one.rank), one.chosen ? el("b", null, "chosen") : "", ...Object.entries(one.objectives).map(([name, value]) => told(name, value)),
      count(one.trades), money(one.net_pnl, { signed: true }), percent(one.max_drawdown), share(one.kept),
      ...one.sharpe_by_third.map((value) => (value === null ? "n/a" : number(value, 2, { signed: true }))),
      ...Object.values(one.parameters).map(setting),
    ]),
    { most: 30 },
  );
}

// -- Parameters -------------------------------------------------------------------------------------------------------

function parameters(all) {
  const changed = all.filter((one) => one.changed);
  const only = el("input", { type: "checkbox", id: "only-changed", checked: changed.length > 0 });
  const rowsOf = (chosen) => chosen.map((one) => [
    one.name, setting(one.before), one.changed ? el("b", null, setting(one.after)) : setting(one.after),
    one.changed ? "● changed" : "kept",
  ]);
  const table = sheet(
    `${count(changed.length)} of ${counted(all.length, "parameter")} changed`,
    ["parameter", "before", "after", "<what happened"], rowsOf(changed.length ? changed : all),
  );
  only.addEventListener("change", () => table.update(rowsOf(only.checked ? changed : all)));
  return el("div", null, el("label", { class: "picked", for: "only-changed" }, only, "Only what the search changed"), table);
}

// -- Rungs and ledger -------------------------------------------------------------------------------------------------

function rungs(found, signal) {
  const known = found.rungs.filter(({ levels }) => levels.length);
  if (!known.length) return [missing("The ledger has no rungs of this run, or has too many to count them.")];
  const table = sheet(
    "Configurations by rung",
    ["stage", "share of the candles", "bars", "configurations"],
    known.flatMap(({ stage, levels }) => levels.map((one) => [
      stage, percent(one.share, 0), count(one.bars), count(one.configurations),
    ])),
  );
  return [pair(figure(rungChart(known), signal), table)];
}

function ledger(found) {
  const record = found.ledger;
  if (!record) return [missing("There is no ledger here, or it has nothing of these candles.")];
  return [
    el(
      "p", null,
      `${counted(record.trials, "configuration")} were tried on exactly these candles, in ` +
        `${counted(record.runs.length, "run")}; without any edge the best of so many reaches a Sharpe ratio of ` +
        `${number(record.luck_line, 2)}. ` +
        (record.related
          ? `${counted(record.related, "more configuration")} on other spans of the same market make it less certain still.`
          : "No other span of the same market was searched."),
    ),
    sheet(
      "Runs that searched these candles, newest first",
      ["run", "<begun", "<stages", "configurations run", "best"],
      record.runs.map((one) => [
        one.run === found.name ? el("b", null, one.run) : one.run, when(one.started_ms),
        one.stages.join(", "), count(one.evaluations), one.best === null ? "n/a" : number(one.best, 2),
      ]),
    ),
  ];
}
