// What all trades of a part say together: when they made money, how much, what it cost, how they were filled and left.

import { get, runPath } from "../api.js";
import { draw } from "../charts.js";
import { el, empty, failure, money, number, percent, price, spinner, words } from "../ui.js";
import {
  costsFinding, distributionFinding, excursionsFinding, exitsFinding, hoursFinding, monthsFinding, tiersFinding,
} from "./run_findings.js";
import { hourlyHeat, monthlyHeat } from "./run_heat.js";
import { NOTHING, result, scrolling } from "./run_words.js";

const UNITS = { R: "R", quote: "quote currency" };
const MARKS = "One mark a trade, up for a long, hollow where it lost; click one for its story.";
const SHORTFALL =
  "Shortfall: what the fills cost against the price at the signal; positive is a cost. Drift: how the price went on after the fill, in favour of the position. 1 bp is 0.01 %.";
const narrow = window.matchMedia("(max-width: 700px)");

// Draws the statistics of a part in the node. `pick(trade)` is called when a trade in the scatter is clicked.
export function statistics(node, run, signal, pick) {
  const plots = {}; // charts stay where they are and get other data
  let drawing = Promise.resolve();
  let running = null;
  let last = null;

  async function show(part) {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    if (!node.firstChild) node.replaceChildren(spinner());
    node.setAttribute("aria-busy", "true");
    let found;
    try {
      found = await get(runPath(run.name, "statistics"), { part }, { signal: mine.signal });
    } catch (problem) {
      if (problem.name === "AbortError" || mine.signal.aborted || signal.aborted) return;
      node.replaceChildren(failure(problem));
      return;
    } finally {
      if (running === mine) node.removeAttribute("aria-busy");
    }
    if (mine.signal.aborted || signal.aborted) return;
    await lay(found);
  }

  async function lay(found) {
    last = found;
    const none = !(found.distribution?.counts ?? []).length;
    const plot = (key) => {
      plots[key] ??= el("div", { class: "plot run-small" });
      return plots[key];
    };
    const small = narrow.matches;
    const said = (finding) => (none ? "no trade" : finding(found));
    node.replaceChildren(
      card("months", "Months", monthsFinding(found), "Percent of the equity at the start of each month.", monthlyHeat(found.monthly, found.yearly, small), true),
      card("hours", "Hours", hoursFinding(found), "Net result, quote currency, of the trades entered in that hour, UTC.", hourlyHeat(found.hourly, small), true),
      card("distribution", "Results", said(distributionFinding), null, none ? noTrades() : plot("distribution")),
      card("excursions", "Ahead and behind", said(excursionsFinding), none ? null : MARKS, none ? noTrades() : plot("excursions")),
      card("costs", "Costs", said(costsFinding), "From the result before costs to what was kept, quote currency.", none ? noTrades() : plot("costs")),
      card("exits", "Exits", said(exitsFinding), null, none ? noTrades() : [exitsTable(found.exits), sidesTable(found.sides)]),
      card("tiers", "Fills by tier", tiersFinding(found), SHORTFALL, tiersTable(found.tiers, small), true),
    );
    if (none) return;
    drawing = drawing.then(() => charts(found)).catch((problem) => node.prepend(failure(problem)));
    await drawing;
  }

  async function charts(found) {
    if (signal.aborted || !plots.costs.isConnected) return;
    await Promise.all([
      draw(plots.distribution, ...distribution(found.distribution), { signal, label: `Results: ${distributionFinding(found)}.` }),
      draw(plots.excursions, ...excursions(found.excursions, found.distribution.unit), {
        signal, label: `Ahead and behind: ${excursionsFinding(found)}.`, onClick: clicked,
      }),
      draw(plots.costs, ...waterfall(found.costs), { signal, label: `Costs: ${costsFinding(found)}.`, modebar: false }),
    ]);
  }

  function clicked(event) {
    const trade = event.points[0]?.customdata?.[0];
    if (Number.isInteger(trade)) pick({ trade_id: trade });
  }

  signal.addEventListener("abort", () => running?.abort());
  narrow.addEventListener("change", () => last && lay(last), { signal });
  return { show };
}

function card(id, topic, finding, note, content, isWide = false) {
  return el(
    "section", { class: `card${isWide ? " full" : ""}`, id: `statistics-${id}`, "aria-labelledby": `statistics-${id}-title` },
    el("h3", { id: `statistics-${id}-title` }, el("span", { class: "run-topic" }, `${topic}: `), finding), note && el("p", { class: "muted" }, note), content,
  );
}

function noTrades() {
  return empty("No trade to show", "This part made no trade.");
}

function distribution({ edges, counts, unit }) {
  const middles = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
  const bar = (name, color, wanted) => {
    const kept = counts.map((_, i) => i).filter((i) => counts[i] > 0 && (middles[i] < 0) === wanted);
    return {
      type: "bar", name, x: kept.map((i) => middles[i]), y: kept.map((i) => counts[i]),
      width: kept.map((i) => edges[i + 1] - edges[i]), customdata: kept.map((i) => [edges[i], edges[i + 1]]),
      hovertemplate: `%{y} of %{customdata[0]:,.2f} to %{customdata[1]:,.2f} ${UNITS[unit]}<extra></extra>`,
      marker: { color, line: { color: "@card", width: 1 } },
    };
  };
  const layout = {
    barmode: "overlay", bargap: 0, showlegend: true,
    xaxis: { title: { text: `net result of a trade (${UNITS[unit]})` } }, yaxis: { title: { text: "trades" }, rangemode: "tozero" },
  };
  return [[bar("loss", "@loss", true), bar("gain", "@gain", false)].filter((one) => one.x.length), layout];
}

// In R where every trade has an initial risk, as the distribution is.
function excursions(found, unit) {
  const scale = (one) => (unit === "R" ? one.risk : 1);
  const group = (name, color, wins) => {
    const chosen = found.filter((one) => one.net > 0 === wins);
    return {
      type: "scatter", mode: "markers", name, x: chosen.map((one) => -one.mae / scale(one)), y: chosen.map((one) => one.mfe / scale(one)),
      customdata: chosen.map((one) => [one.trade_id, one.net]),
      hovertemplate: "trade %{customdata[0]}<br>behind %{x:,.2f}, ahead %{y:,.2f}<br>net %{customdata[1]:+,.2f}<extra></extra>",
      marker: { color, size: 8, opacity: 0.75, symbol: chosen.map((one) => `triangle-${one.side === "short" ? "down" : "up"}${wins ? "" : "-open"}`) },
    };
  };
  const layout = {
    hovermode: "closest", showlegend: true,
    xaxis: { title: { text: `furthest behind, MAE (${UNITS[unit]})` }, rangemode: "tozero" },
    yaxis: { title: { text: `furthest ahead, MFE (${UNITS[unit]})` }, rangemode: "tozero" },
  };
  return [[group("lost", "@loss", false), group("won", "@gain", true)].filter((one) => one.x.length), layout];
}

function waterfall(costs) {
  const bars = {
    type: "waterfall", x: costs.map((step) => words(step.name)), y: costs.map((step) => step.amount),
    measure: costs.map((step, i) => (i === 0 ? "absolute" : step.is_total ? "total" : "relative")),
    text: costs.map((step) => money(step.amount, { signed: true })), textposition: "outside", constraintext: "none",
    cliponaxis: false, hovertemplate: "%{x}: %{text}<extra></extra>",
    increasing: { marker: { color: "@gain" } }, decreasing: { marker: { color: "@loss" } }, totals: { marker: { color: "@total" } },
    connector: { line: { color: "@muted", width: 1 } },
  };
  return [[bars], { showlegend: false, yaxis: { title: { text: "quote currency" } } }];
}

function grid(caption, columns, rows) {
  return scrolling(
    caption,
    el(
      "table", {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows),
    ),
  );
}

function exitsTable(exits) {
  return grid("Trades by the reason of their exit", ["exit", "trades", "won", "net", "a trade"], exits.map((one) => groupRow(words(one.reason), one)));
}

function sidesTable(sides) {
  return grid("Trades by side", ["side", "trades", "won", "net", "a trade"], sides.map((one) => groupRow(one.side, one)));
}

function groupRow(name, group) {
  return el(
    "tr", {},
    el("th", { scope: "row" }, name),
    el("td", {}, number(group.trades, 0)),
    el("td", {}, percent(group.win_rate)),
    el("td", {}, result(group.net_pnl)),
    el("td", {}, group.average_trade === null ? NOTHING : result(group.average_trade)),
  );
}

function tiersTable(tiers, isNarrow) {
  if (!tiers?.length) return empty("No fills to show", "This part has no fills on record by tier.");
  const bp = (value) => (value === null || value === undefined ? NOTHING : `${number(value, 1, { signed: true })} bp`);
  const share = (value) => (value === null || value === undefined ? NOTHING : percent(value));
  const columns = [
    ["programs", (one) => number(one.programs, 0)],
    ["fills", (one) => number(one.fills, 0)],
    ["fill rate", (one) => share(one.fill_rate)],
    ["quantity", (one) => price(Number(one.quantity.toPrecision(8)))],
    ["share", (one) => share(one.quantity_share)],
    ["bars to fill", (one) => (one.mean_bars_to_fill === null ? NOTHING : number(one.mean_bars_to_fill, 1))],
    ["shortfall", (one) => bp(one.shortfall_bp)],
    ["maker", (one) => share(one.maker_share)],
    ["fees", (one) => money(one.fees)],
    ["drift 1 bar", (one) => bp(one.drift_1_bp)],
    ["5 bars", (one) => bp(one.drift_5_bp)],
    ["20 bars", (one) => bp(one.drift_20_bp)],
  ];
  const caption = "Entry fills by tier";
  const swatch = (one) => el("span", { class: `swatch tier-${one.tier}`, "aria-hidden": "true" });
  const line = (name, cells) => el("tr", {}, el("th", { scope: "row" }, name), ...cells.map((cell) => el("td", {}, cell)));
  if (isNarrow) {
    const head = tiers.map((one) => el("span", { title: one.name }, swatch(one), String(one.tier)));
    return grid(caption, ["tier", ...head], columns.map(([name, cell]) => line(name, tiers.map(cell))));
  }
  return grid(caption, ["tier", ...columns.map(([name]) => name)], tiers.map((one) => line([swatch(one), `${one.tier}, ${one.name}`], columns.map(([, cell]) => cell(one)))));
}
