// The view of one run: what it found, how sure that is, and every bar and trade it rests on.

import { get } from "../api.js";
import { el, empty, failure, spinner, when } from "../ui.js";
import { candleChart } from "./run_chart.js";
import { equity } from "./run_equity.js";
import { headline } from "./run_headline.js";
import { statistics } from "./run_statistics.js";
import { tellStory } from "./run_story.js";
import { tradeTable } from "./run_trades.js";
import { labelOf, section, whenSeen } from "./run_words.js";

const STEPS = { M: 60_000, H: 3_600_000, D: 86_400_000, W: 604_800_000 };
const GOING_ON = new Set(["running"]);

export async function show(root, params, context) {
  const { name } = params;
  const { signal } = context;
  context.title(name);
  root.replaceChildren(spinner());
  let document;
  try {
    document = await get(`/runs/${encodeURIComponent(name)}`, {}, { signal });
  } catch (problem) {
    if (problem.name === "AbortError" || signal.aborted) return;
    root.replaceChildren(failure(problem));
    return;
  }
  if (signal.aborted) return;
  const market = document.market ?? {};
  context.title(`${market.symbol ?? name} ${market.timeframe ?? ""}`.trim());
  const page = el("div", { class: "run-view" }, title(document, name), links(document, name));
  root.replaceChildren(page);
  if (GOING_ON.has(document.state) || !document.comparison) {
    page.append(unfinished(document, name));
    if (!document.parts?.length) return;
  }
  if (document.comparison) page.append(headline(document, name));
  const notes = document.notes ?? [];
  if (notes.length) page.append(noteList(notes));
  if (document.parts?.length) detail(page, document, name, context);
  context.announce(`Run ${name} is shown.`);
}

function title(document, name) {
  const market = document.market ?? {};
  const span = market.first_bar ? `${market.first_bar.slice(0, 10)} .. ${market.last_bar.slice(0, 10)}` : "";
  const facts = [
    market.exchange, document.strategy, span, market.bars && `${market.bars.toLocaleString("en-US")} bars`,
    document.n_trials && `${document.n_trials.toLocaleString("en-US")} configurations on record`,
  ].filter(Boolean);
  return el(
    "header", { class: "run-title" },
    el(
      "div", {},
      el("h1", {}, market.symbol ? `${market.symbol} ${market.timeframe}` : name, market.synthetic && el("span", { class: "run-synthetic" }, "SYNTHETIC")),
      el("p", { class: "muted" }, facts.join(" · ")),
    ),
    el("p", { class: "run-name muted" }, el("code", {}, name), document.written && el("span", {}, ` · ${when(Date.parse(document.written))} UTC`)),
  );
}

function links(document, name) {
  const found = [
    [`#/run/${name}`, "Run", true],
    [`#/run/${name}/optimization`, "Optimization", false],
    [`#/run/${name}/validation`, "Validation", false],
    [`#/run/${name}/live`, "Live and log", false],
  ];
  return el(
    "nav", { class: "run-links", "aria-label": "This run" },
    ...found.map(([href, text, here]) => el("a", { href, ...(here ? { "aria-current": "page" } : {}) }, text)),
  );
}

function unfinished(document, name) {
  const words = {
    running: ["This run is going on", "Watch it live; what it found stands here when it is done."],
    interrupted: ["This run was interrupted", "Go on with it from its last checkpoint on the live page."],
    failed: ["This run failed", "The live page has its log and its last words."],
    stopped: ["This run was stopped", "Go on with it from its last checkpoint on the live page."],
  }[document.state] ?? ["Nothing was compared in this run", "It has no baseline to show; its own pages have what it found."];
  return el("div", { class: "run-unfinished" }, empty(...words), el("p", {}, el("a", { class: "button", href: `#/run/${name}/live` }, "Open the live page")));
}

function noteList(notes) {
  return el(
    "details", { class: "run-notes", open: notes.length <= 3 },
    el("summary", {}, `${notes.length} ${notes.length === 1 ? "note" : "notes"} a reader should know`),
    el("ul", {}, ...notes.map((note) => el("li", {}, el("b", {}, `${note.part}: `), note.text))),
  );
}

// Curves, candles, trades and statistics; one choice of the part holds for all but the curves.
function detail(page, document, name, context) {
  const { signal } = context;
  const market = document.market;
  const step = stepOf(market.timeframe);
  const run = {
    name, part: document.parts.includes("optimized") ? "optimized" : document.parts[0], parameters: document.parameters,
    timeframe: market.timeframe, step, first: Date.parse(market.first_bar), end: Date.parse(market.last_bar) + step,
  };
  const nodes = { equity: el("div", { class: "run-holder tall" }, spinner()), chart: el("div", { class: "run-holder chart" }), trades: el("div", {}), statistics: el("div", { class: "run-grid" }) };
  const story = el("aside", { class: "run-story", "aria-labelledby": "story-title", hidden: true });
  const parts = partChoice(document, run.part, choose);
  page.append(
    section("equity", "Equity and drawdown", null, nodes.equity),
    parts.node,
    section("price", "Price and trades", null, el("div", { class: "run-stage" }, nodes.chart, story)),
    section("trades", "Trades", null, nodes.trades),
    section("statistics", "What the trades say together", null, nodes.statistics),
  );
  const chart = candleChart(nodes.chart, run, signal, (trade) => pick(trade));
  const table = tradeTable(nodes.trades, run, signal, (trade) => pick(trade, true));
  const sums = statistics(nodes.statistics, run, signal, (trade) => pick(trade, true));
  let telling = null;

  async function pick(trade, scroll = false) {
    telling?.abort();
    const mine = new AbortController();
    telling = mine;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const wasHidden = story.hidden;
    const asked = tellStory(story, run, run.part, trade, mine.signal, close);
    if (wasHidden) window.dispatchEvent(new Event("resize")); // the chart has less room now
    if (scroll) window.document.getElementById("price").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
    const told = await asked;
    if (!told || mine.signal.aborted) return;
    table.mark(trade);
    context.announce(`Trade ${trade}, ${told.trade.side}, net ${told.result.net_pnl.toFixed(2)}.`);
    await chart.jump({ trade_id: trade, entry_time: firstFill(told), exit_time: Date.parse(told.exit.time) });
  }

  function close() {
    telling?.abort();
    story.hidden = true;
    story.replaceChildren();
    delete story.dataset.trade;
    window.dispatchEvent(new Event("resize"));
    table.mark(null);
    chart.forget();
  }

  function choose(part) {
    run.part = part;
    close();
    context.announce(`${labelOf(part)} is shown.`);
    chart.show(part);
    table.show(part);
    if (seen) sums.show(part);
  }

  let seen = false;
  equity(nodes.equity, name, document.parts, signal);
  chart.start();
  table.start();
  whenSeen(nodes.statistics, signal, () => {
    seen = true;
    sums.show(run.part);
  });
}

function firstFill(story) {
  const fill = story.entry.steps.find((step) => step.fill);
  return Date.parse(fill ? fill.time : story.signal.time);
}

function partChoice(document, chosen, choose) {
  const buttons = document.parts.map((part) => {
    const button = el("button", { type: "button", "data-part": part, "aria-pressed": String(part === chosen) }, document.comparison?.[part]?.label ?? labelOf(part));
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      choose(part);
    });
    return button;
  });
  return { node: el("div", { class: "run-parts", role: "group", "aria-label": "Which part is shown below" }, el("span", { class: "muted" }, "Shown below"), ...buttons) };
}

// `15M` is 15 minutes.
function stepOf(timeframe) {
  const [, count, unit] = /^(\d+)([MHDW])$/.exec(timeframe) ?? [null, 1, "D"];
  return Number(count) * STEPS[unit];
}

function calm() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}
