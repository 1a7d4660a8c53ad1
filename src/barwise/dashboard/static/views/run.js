// The view of one run: what it found, how sure that is, and every bar and trade it rests on.

import { get, runPath } from "../api.js";
import { button, counted, el, empty, heading, market, money, spinner, stateBadge, stylesheet, when } from "../ui.js";
import { filesOf } from "./files.js";
import { candleChart } from "./run_chart.js";
import { unified } from "./run_document.js";
import { equity } from "./run_equity.js";
import { headline } from "./run_headline.js";
import { statistics } from "./run_statistics.js";
import { tellStory } from "./run_story.js";
import { tradeTable } from "./run_trades.js";
import { labelOf, lengthOf, numberOf, sameTrade, section, whenSeen } from "./run_words.js";

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
  if (findings.comparison && findings.parts?.length) detail(page, findings, name, params, context);
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
  return empty(title, text, " ", el("a", { href }, `Open the ${view} page`), ". ", filesOf(name));
}

function noteList(notes) {
  return el(
    "details", { class: "run-notes", open: notes.length <= 3 },
    el("summary", {}, `${counted(notes.length, "note")} a reader should know`),
    el("ul", {}, ...notes.map((note) => el("li", {}, el("b", {}, `${note.part}: `), note.text))),
  );
}

// Curves, candles, trades and statistics; one choice of the part holds for all but the curves. The address of the page has
// the part and the trade that is told, so that a reload, the way back and a link to somebody else show the same.
function detail(page, findings, name, params, context) {
  const { signal } = context;
  const about = findings.market;
  const step = lengthOf(about.timeframe);
  const usual = findings.parts.includes("optimized") ? "optimized" : findings.parts[0];
  const partOf = (asked) => (findings.parts.includes(asked) ? asked : usual);
  const run = {
    name, part: partOf(params.part), parameters: findings.parameters,
    timeframe: about.timeframe, step, first: Date.parse(about.first_bar), end: Date.parse(about.last_bar) + step,
  };
  const nodes = {
    equity: el("div", { class: "card run-holder curves" }, spinner()), chart: el("div", { class: "card run-holder chart" }),
    trades: el("div", {}), statistics: el("div", { class: "run-grid" }),
  };
  const story = el("aside", { class: "card run-story", "aria-labelledby": "story-title", hidden: true });
  const parts = partChoice(findings, run, (part) => {
    close();
    choose(part);
    remember();
  });
  page.append(
    section("equity", "Equity and drawdown", nodes.equity),
    parts.node,
    section("price", "Price and trades", el("div", { class: "run-stage" }, nodes.chart, story)),
    section("trades", "Trades", nodes.trades),
    section("statistics", "What the trades say together", nodes.statistics),
  );
  // The charts show the same span of time once a hand has moved one of them; until then the curves mark what the candles
  // show. Each is moved by the other without telling it back.
  const curves = equity(nodes.equity, run, findings, signal, (range) => chart.follow(range));
  const chart = candleChart(nodes.chart, run, signal, {
    pick: (trade) => pick(trade),
    moved: (range, byHand) => curves.follow(range, byHand),
    closed: (axis) => curves.setAxis(axis),
    announce: context.announce,
  });
  const table = tradeTable(nodes.trades, run, signal, (trade, isStep = false) => pick(trade, { scroll: !isStep, isStep }));
  const sums = statistics(nodes.statistics, run, signal, (trade) => pick(trade, { scroll: true }));
  let telling = null;
  let told = null;
  let seen = false;

  // A trade is {trade_id, piece}, with the rest of its row where it is known.
  async function pick(trade, { scroll = false, isNew = true, isStep = false } = {}) {
    telling?.abort();
    const mine = new AbortController();
    telling = mine;
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    if (isNew && !sameTrade(trade, told)) remember(trade, isStep);
    told = trade;
    // Not from somebody who types `#1` and goes on to `#12`.
    const hadFocus = (story.contains(document.activeElement) || scroll) && document.activeElement?.tagName !== "INPUT";
    const asked = tellStory(story, run, trade, mine.signal, { close: leave, step: (by) => table.step(by) });
    if (scroll) document.getElementById("run-price").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
    const focus = () => hadFocus && story.querySelector("h3")?.focus({ preventScroll: true });
    focus();
    const known = await asked;
    if (!mine.signal.aborted && [document.body, null].includes(document.activeElement)) focus();
    if (!known || mine.signal.aborted) return;
    told = known;
    table.mark(known);
    context.announce(`Trade ${numberOf(known)}, ${known.side}, net ${money(known.net_pnl, { signed: true })}.`);
    await chart.jump(known);
  }

  function close() {
    telling?.abort();
    told = null;
    if (story.hidden) return;
    const hadFocus = story.contains(document.activeElement);
    story.hidden = true;
    story.replaceChildren();
    delete story.dataset.trade;
    table.mark(null, hadFocus);
    chart.forget();
  }

  function leave() {
    if (story.hidden) return;
    close();
    remember();
  }

  function choose(part) {
    run.part = part;
    parts.mark(part);
    context.announce(`${labelOf(part)} is shown.`);
    chart.show();
    table.show();
    if (seen) sums.show(part);
  }

  // A walk from trade to trade is one entry of the history: the way back leads out of it.
  function remember(trade = null, isStep = false) {
    const said = new URLSearchParams();
    if (run.part !== usual) said.set("part", run.part);
    if (trade) said.set("trade", numberOf(trade));
    const query = String(said);
    const hash = `#/run/${encodeURIComponent(name)}${query && `?${query}`}`;
    if (window.location.hash !== hash) window.history[isStep ? "replaceState" : "pushState"](null, "", hash);
  }

  // The way back and forth through trades and parts.
  context.follow((asked) => {
    const part = partOf(asked.part);
    const trade = tradeOf(asked.trade);
    if (part !== run.part || !trade) close();
    if (part !== run.part) choose(part);
    if (trade) pick(trade, { isNew: false });
  });
  context.keys({ Escape: leave, j: () => table.step(1), k: () => table.step(-1) });
  chart.start();
  table.show();
  const first = tradeOf(params.trade);
  if (first) pick(first, { scroll: true, isNew: false });
  whenSeen(nodes.statistics, signal, () => {
    seen = true;
    sums.show(run.part);
  });
}

// `12`, or `3.12` in the third piece of a walk-forward; null for anything else.
function tradeOf(text) {
  const found = /^(?:(\d{1,6})\.)?(\d{1,9})$/.exec(text ?? "");
  return found && { trade_id: Number(found[2]), piece: found[1] ? Number(found[1]) : null };
}

// The parts as buttons, and how to mark the one that is shown.
function partChoice(findings, run, choose) {
  const buttons = findings.parts.map((part) => button(findings.comparison?.[part]?.label ?? labelOf(part), () => part !== run.part && choose(part), { "data-part": part }));
  const mark = (shown) => buttons.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.part === shown)));
  mark(run.part);
  const node = el(
    "div", { class: "run-parts", role: "group", "aria-label": "Which part is shown below" },
    el("span", { class: "muted" }, "Shown below"), buttons,
  );
  return { node, mark };
}

function calm() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}
