// All runs: what is going on, what was found, and which of them to put side by side.

import { get, runPath, stream } from "../api.js";
import {
  ago, button, count, counted, debounce, el, empty, failure, heading, market, number, signed, percent, spark, stateBadge,
  stylesheet, table, verdictBadge, when,
} from "../ui.js";
import { labelOf } from "./run_words.js";

const SPARKS = 24;
const SPARK_POINTS = 60;
const [LEADING, TRAILING] = [4, 2]; // columns before and behind the figures
// What each column belongs to, in the order of the table; what was chosen on the very bars it is measured on is pale.
const GROUPS = [
  { part: "out_of_sample", label: "out-of-sample", title: "On bars that the search had not seen: what to go by",
    figures: ["sharpe_ratio", "total_return", "max_drawdown", "trades"] },
  { part: "optimized", label: "in-sample", title: "On the bars it was chosen on: too good by nature",
    figures: ["sharpe_ratio", "total_return"] },
  { part: "baseline", label: "baseline", title: "The strategy before any search, on all bars",
    figures: ["sharpe_ratio", "total_return"] },
];
const FIGURES = {
  sharpe_ratio: ["Sharpe", "Annual Sharpe ratio", (value) => signed(value, number)],
  total_return: ["Return", "Of the capital", (value) => signed(value, percent, null)],
  max_drawdown: ["Drawdown", "Largest", (value) => percent(value)],
  trades: ["Trades", "How many", (value) => count(value)],
};
// Whose curve stands in the list, the first that there is.
const CURVES = ["out_of_sample", "baseline", "optimized"];

const address = (run, view = "") => (
  run.kind === "multi" && run.state === "done" && !view ? `#/market/${encodeURIComponent(run.name)}`
    : `#/run/${encodeURIComponent(run.name)}${view}`
);
const opens = (run) => (run.state === "running" ? address(run, "/live") : address(run));
const metric = (run, part, name) => run.metrics?.[part]?.[name] ?? null;

// What the filter looks at: every word typed must be somewhere in it.
function textOf(run) {
  const { exchange, symbol, timeframe, synthetic } = run.market || {};
  return [run.name, run.kind, exchange, symbol, timeframe, synthetic && "synthetic", run.state, run.verdict,
    ...run.labels, ...Object.keys(run.verdicts)].filter(Boolean).join(" ").toLowerCase();
}

function firstRun() {
  return empty(
    "No runs yet",
    "Start one here, or in a terminal with ", el("code", null, "barwise run"),
    ". Without a market it takes made-up candles, needs some seconds and no network.",
    el("span", { class: "row" }, el("a", { class: "button first", href: "#/new" }, "Start the first run")),
  );
}

// Out-of-sample where it was walked forward, and never what a search chose where there is anything else. Lists are long,
// so only the newest runs have one.
async function drawSparks(runs, cells, signal) {
  for (const run of runs.filter(({ state, kind }) => state === "done" && kind !== "multi").slice(0, SPARKS)) {
    const part = CURVES.find((one) => run.metrics[one]);
    if (!part) continue;
    try {
      const { series } = await get(`${runPath(run.name, "equity")}`, { parts: part, points: SPARK_POINTS }, { signal });
      const cell = cells.get(run.name);
      if (series[0] && cell) cell.replaceChildren(spark(series[0].equity, `equity of ${run.name}, ${labelOf(part)}`), el("small", { class: "muted" }, labelOf(part)));
    } catch (error) {
      if (signal.aborted) return;
      cells.get(run.name)?.replaceChildren("");
    }
  }
}

const nothing = () => el("span", { class: "muted" }, "n/a");
const marketOf = (run) => (run.kind === "multi" ? { ...run.market, symbol: counted(run.markets, "market") }
  : run.market ?? { symbol: "market not known yet" });

// The word; over several markets how often each was reached.
function verdictOf(run) {
  const words = Object.entries(run.verdicts);
  if (!words.length) return verdictBadge(run.verdict);
  return el("span", { class: "verdicts" },
    words.map(([word, many]) => el("span", null, `${count(many)} × `, verdictBadge(word))));
}

// The row above the heads: which figures belong together.
function groupHeads() {
  return el("tr", { class: "groups" }, el("td", { colspan: LEADING }),
    GROUPS.map(({ part, label, title, figures }) => el("th", { scope: "colgroup", colspan: figures.length, class: part, title }, label)),
    el("td", { colspan: TRAILING }));
}

export async function show(root, params, { signal, navigate, title, announce, keys }) {
  title("Runs");
  await stylesheet("views/runs.css");
  let { runs } = await get("/runs", {}, { signal });
  const chosen = new Set();
  const sparks = new Map();

  const filter = el("input", { type: "search", "data-filter": true, "aria-label": "Filter runs",
    placeholder: "Filter: symbol, state, verdict", value: params.filter || "", autocomplete: "off",
    spellcheck: "false" });
  const compare = button("Compare", () => compareChosen(), { class: "first" });
  const shownCount = el("span", { class: "muted", role: "status" });

  function compareChosen() {
    if (chosen.size < 2) {
      announce("Select two or more runs first.");
      return;
    }
    // What the search had not seen is what to go by, where all of them have it.
    const judged = runs.filter(({ name }) => chosen.has(name)).every((run) => run.metrics?.out_of_sample);
    navigate(`#/compare?runs=${[...chosen].map(encodeURIComponent).join(",")}${judged ? "&part=out_of_sample" : ""}`);
  }

  function choose(run, wanted) {
    if (wanted) chosen.add(run.name);
    else chosen.delete(run.name);
    nameCompare();
    for (const row of list.querySelectorAll("tbody tr")) {
      row.classList.toggle("chosen", Boolean(row.querySelector("input:checked")));
    }
  }

  function nameCompare() {
    compare.textContent = chosen.size ? `Compare ${chosen.size}` : "Compare";
    compare.disabled = chosen.size < 2;
    compare.title = chosen.size < 2 ? "Select two or more runs" : "";
  }

  function selector(run) {
    if (run.kind === "multi" || !run.metrics?.baseline) return "";
    return el("input", { type: "checkbox", "aria-label": `Select ${run.name}`, checked: chosen.has(run.name),
      onchange: (event) => choose(run, event.target.checked) });
  }

  function sparkCell(run) {
    if (!sparks.has(run.name)) sparks.set(run.name, el("span", { class: "spark-cell" }));
    return sparks.get(run.name);
  }

  const figure = ({ part, label: group }, name) => {
    const [label, about, shown] = FIGURES[name];
    const value = (run) => metric(run, part, name);
    return { key: `${part}_${name}`, label, title: `${about}, ${group}`, sort: true, value,
      cell: (run) => el("span", { class: `figure ${part}` }, value(run) === null ? nothing() : shown(value(run))) };
  };
  const list = table({
    caption: "Runs, newest first",
    columns: [
      { key: "chosen", label: "", cell: selector, text: true },
      { key: "market", label: "Market", heading: true, text: true, sort: true,
        value: (run) => `${run.market?.symbol || ""} ${run.market?.timeframe || ""}`,
        cell: (run) => [el("a", { class: "plain", href: opens(run) }, market(marketOf(run))),
          el("span", { class: "name muted" }, run.name)] },
      { key: "state", label: "State", text: true, sort: true, cell: (run) => stateBadge(run.state) },
      { key: "verdict", label: "Verdict", text: true, sort: true, value: (run) => run.verdict ?? Object.keys(run.verdicts)[0],
        cell: verdictOf },
      ...GROUPS.flatMap((group) => group.figures.map((name) => figure(group, name))),
      { key: "curve", label: "Equity", text: true, cell: sparkCell },
      { key: "begun_ms", label: "Begun", sort: true,
        cell: (run) => el("time", { title: `${when(run.begun_ms, { seconds: true })} UTC` }, ago(run.begun_ms)) },
    ],
    rows: [],
    open: (run) => navigate(opens(run)),
    rowClass: (run) => (chosen.has(run.name) ? "chosen" : null),
    cards: true,
    emptyText: "No run matches the filter.",
  });
  list.querySelector("thead").prepend(groupHeads());
  list.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.tagName !== "TR") return;
    event.preventDefault();
    event.target.querySelector("input[type=checkbox]")?.click();
  });

  function draw() {
    const typed = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = runs.filter((run) => typed.every((word) => textOf(run).includes(word)));
    list.update(matching);
    shownCount.textContent = matching.length === runs.length ? count(runs.length)
      : `${count(matching.length)} of ${count(runs.length)}`;
  }

  const head = heading("Runs", shownCount, el("span", { class: "row push" }, filter, compare,
    el("a", { class: "button", href: "#/new" }, "New run")));

  function place() {
    if (runs.length) root.replaceChildren(head, list);
    else root.replaceChildren(heading("Runs"), firstRun());
    nameCompare();
    draw();
  }

  const again = debounce(async () => {
    try {
      ({ runs } = await get("/runs", {}, { signal }));
    } catch (error) {
      if (!signal.aborted) root.prepend(failure(error, () => navigate("#/runs")));
      return;
    }
    const hadFocus = root.contains(document.activeElement) && document.activeElement === filter;
    if (Boolean(runs.length) === root.contains(list)) draw();
    else place();
    if (hadFocus) filter.focus();
    drawSparks(runs.filter(({ name }) => !sparks.get(name)?.firstChild), sparks, signal);
  }, 300);

  filter.addEventListener("input", debounce(draw, 80));
  filter.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "Enter") return;
    event.preventDefault();
    list.focusRow(0);
  });
  keys({ c: compareChosen });
  place();
  drawSparks(runs, sparks, signal);
  const known = new Map(runs.map(({ name, state }) => [name, state]));
  stream({}, {
    run({ name, state }) {
      if (known.get(name) === state) return;
      known.set(name, state);
      announce(`${name}: ${state}`);
      again();
    },
    reset: again,
  }, { signal });
}
