// The view of one run: what it found, how sure that is, and every bar and trade it rests on.

import { get, runPath } from "../api.js";
import { button, counted, el, empty, heading, market, money, spinner, stateBadge, stylesheet, when } from "../ui.js";
import { candleChart } from "./run_chart.js";
import { unified } from "./run_document.js";
import { equity } from "./run_equity.js";
import { headline } from "./run_headline.js";
import { statistics } from "./run_statistics.js";
import { tellStory } from "./run_story.js";
import { tradeTable } from "./run_trades.js";
import { labelOf, section, whenSeen } from "./run_words.js";

const STEPS = { M: 60_000, H: 3_600_000, D: 86_400_000, W: 604_800_000 };

export async function show(root, params, context) {
  const { name } = params;
  const { signal } = context;
  const style = stylesheet("views/run.css");
  const findings = unified(await get(runPath(name), {}, { signal }));
  await style;
  if (signal.aborted) return;
  if (findings.kind === "multi") {
    context.navigate(`#/market/${encodeURIComponent(name)}`);
    return;
  }
  const { symbol = name, timeframe = "" } = findings.market ?? {};
  context.title(`${symbol} ${timeframe}`.trim());
  const page = el("div", { class: "run-view" }, title(findings, name));
  root.replaceChildren(page);
  if (findings.state === "running" || !findings.comparison) {
    page.append(instead(findings, name));
  }
  if (findings.comparison) page.append(headline(findings, name));
  const notes = findings.notes ?? [];
  if (notes.length) page.append(noteList(notes));
  if (findings.comparison && findings.parts?.length) detail(page, findings, name, context);
  context.announce(`Run ${name} is shown.`);
}

function title(findings, name) {
  const about = findings.market ?? {};
  const span = about.first_bar ? `${about.first_bar.slice(0, 10)} .. ${about.last_bar.slice(0, 10)}` : "";
  const facts = [
    findings.strategy, span, about.bars && counted(about.bars, "bar"),
    findings.n_trials && `${counted(findings.n_trials, "configuration")} on record`,
  ].filter(Boolean);
  return el(
    "header", { class: "run-title" },
    heading(about.symbol ? market(about) : name, findings.state && findings.state !== "done" && stateBadge(findings.state)),
    el("p", { class: "muted" }, facts.join(" · ")),
    el("p", { class: "run-name muted" }, el("code", {}, name), findings.written && ` · written ${when(Date.parse(findings.written))} UTC`),
  );
}

// What there is instead of the figures, and where to go.
const INSTEAD = {
  running: ["This run is going on", "Watch it live; what it found stands here when it is done.", "live"],
  interrupted: ["This run was interrupted", "The live page goes on with it from its last checkpoint.", "live"],
  failed: ["This run failed", "The live page has its log and its last words.", "live"],
  stopped: ["This run was stopped", "The live page goes on with it from its last checkpoint.", "live"],
  optimization: ["This is a search by itself", "Its page has every trial, what was chosen, and what luck alone reaches.", "optimization"],
  validation: ["This is a validation by itself", "Its page has the verdict and every test.", "validation"],
};

function instead(findings, name) {
  const [title, text, view] = INSTEAD[findings.state] ?? INSTEAD[findings.kind] ?? ["Nothing to compare", "This run left no figures.", "live"];
  const href = `#/run/${encodeURIComponent(name)}/${view}`;
  return empty(title, text, " ", el("a", { href }, `Open the ${view} page`), ".");
}

function noteList(notes) {
  return el(
    "details", { class: "run-notes", open: notes.length <= 3 },
    el("summary", {}, `${counted(notes.length, "note")} a reader should know`),
    el("ul", {}, ...notes.map((note) => el("li", {}, el("b", {}, `${note.part}: `), note.text))),
  );
}

// Curves, candles, trades and statistics; one choice of the part holds for all but the curves.
function detail(page, findings, name, context) {
  const { signal } = context;
  const about = findings.market;
  const step = stepOf(about.timeframe);
  const run = {
    name, part: findings.parts.includes("optimized") ? "optimized" : findings.parts[0], parameters: findings.parameters,
    timeframe: about.timeframe, step, first: Date.parse(about.first_bar), end: Date.parse(about.last_bar) + step,
  };
  const nodes = {
    equity: el("div", { class: "card run-holder curves" }, spinner()), chart: el("div", { class: "card run-holder chart" }),
    trades: el("div", {}), statistics: el("div", { class: "run-grid" }),
  };
  const story = el("aside", { class: "card run-story", "aria-labelledby": "story-title", hidden: true });
  page.append(
    section("equity", "Equity and drawdown", nodes.equity),
    partChoice(findings, run.part, choose),
    section("price", "Price and trades", el("div", { class: "run-stage" }, nodes.chart, story)),
    section("trades", "Trades", nodes.trades),
    section("statistics", "What the trades say together", nodes.statistics),
  );
  const chart = candleChart(nodes.chart, run, signal, (trade) => pick(trade));
  const table = tradeTable(nodes.trades, run, signal, (trade) => pick(trade, true));
  const sums = statistics(nodes.statistics, run, signal, (trade) => pick(trade, true));
  let telling = null;
  let seen = false;

  // A trade is {trade_id, piece}, with the rest of its row where it is known.
  async function pick(trade, scroll = false) {
    telling?.abort();
    const mine = new AbortController();
    telling = mine;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const wasHidden = story.hidden;
    const asked = tellStory(story, run, trade, mine.signal, close);
    if (wasHidden) window.dispatchEvent(new Event("resize")); // the chart has less room now
    if (scroll) document.getElementById("run-price").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
    const told = await asked;
    if (!told || mine.signal.aborted) return;
    table.mark(told);
    context.announce(`Trade ${told.trade_id}, ${told.side}, net ${money(told.net_pnl, { signed: true })}.`);
    await chart.jump(told);
  }

  function close() {
    telling?.abort();
    if (story.hidden) return;
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
    chart.show();
    table.show();
    if (seen) sums.show(part);
  }

  context.keys({ Escape: close });
  equity(nodes.equity, name, findings.parts, signal);
  chart.start();
  table.show();
  whenSeen(nodes.statistics, signal, () => {
    seen = true;
    sums.show(run.part);
  });
}

function partChoice(findings, chosen, choose) {
  const buttons = findings.parts.map((part) => {
    const label = findings.comparison?.[part]?.label ?? labelOf(part);
    const own = button(label, () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === own));
      choose(part);
    }, { "data-part": part, "aria-pressed": String(part === chosen) });
    return own;
  });
  return el(
    "div", { class: "run-parts", role: "group", "aria-label": "Which part is shown below" },
    el("span", { class: "muted" }, "Shown below"), buttons,
  );
}

// `15M` is 15 minutes.
function stepOf(timeframe) {
  const [, count, unit] = /^(\d+)([MHDW])$/.exec(timeframe) ?? [null, 1, "D"];
  return Number(count) * STEPS[unit];
}

function calm() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}
