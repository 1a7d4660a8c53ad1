// The first screen of a run: the word, why, the figures side by side with their differences, and what to do next.

import { button, count, day, el, money, verdictBadge, words } from "../ui.js";
import { filesOf } from "./files.js";
import { coloured, figure, labelOf, NOTHING, scrolling, sentence } from "./run_words.js";

const COLUMNS = ["baseline", "optimized", "out_of_sample", "buy_and_hold"];
const DIFFERENCES = [
  ["optimized_minus_baseline", "optimized", "baseline"],
  ["out_of_sample_minus_optimized", "out_of_sample", "optimized"],
];
const FIRST = ["net_pnl", "total_return", "sharpe_ratio", "max_drawdown", "trades", "win_rate", "profit_factor", "expectancy", "exposure", "fees"];
const LABELS = {
  net_pnl: "net result", total_return: "return", cagr: "return a year (CAGR)", sharpe_ratio: "Sharpe, annual",
  daily_sharpe_ratio: "Sharpe by day, annual", sortino_ratio: "Sortino, annual", volatility: "volatility, annual",
  expectancy: "expectancy a trade", expectancy_r: "expectancy a trade, in R",
};
const SIGNED = new Set(["net_pnl", "net_pnl_per_30_days", "total_return", "cagr", "expectancy", "expectancy_r", "sharpe_ratio"]);
const COLOURED = new Set(["net_pnl", "total_return"]);
const LESS_IS_BETTER = new Set([
  "max_drawdown", "fees", "fees_per_30_days", "slippage", "slippage_per_30_days", "funding",
]);
const NEITHER = new Set(["trades", "trades_per_30_days", "volatility", "exposure"]);

// Verdict, reasons and what to do, beside the figures.
export function headline(findings, name) {
  return el("div", { class: "run-headline" }, verdictCard(findings, name), figuresCard(findings, name));
}

function verdictCard(findings, name) {
  const verdict = findings.verdict ?? {};
  const reasons = verdict.reasons ?? [];
  const next = verdict.would_change ?? [];
  const tests = (verdict.tests ?? []).filter((test) => test.decides);
  const passed = tests.filter((test) => test.passed).length;
  return el(
    "section",
    { class: "card run-verdict", "aria-labelledby": "verdict-title" },
    el("h2", { id: "verdict-title" }, "Verdict"),
    el("p", { class: "run-word" }, verdict.word ? verdictBadge(verdict.word) : el("span", { class: "run-no-word" }, "No verdict")),
    reasons.length > 0 && el("h3", {}, "Because"),
    reasons.length > 0 && el("ul", {}, ...reasons.map((reason) => el("li", {}, sentence(reason)))),
    tests.length > 0 &&
      el(
        "p", { class: "muted" },
        `${passed} of ${tests.length} deciding tests passed. `,
        el("a", { href: `#/run/${encodeURIComponent(name)}/validation` }, "See each of them"), ".",
      ),
    el("h3", {}, "What to do next"),
    el("ul", {}, ...steps(findings, name, next)),
    verdict.error_rate && el("details", {}, el("summary", {}, "How often this word is wrong"), el("p", {}, verdict.error_rate)),
  );
}

function steps(findings, name, wouldChange) {
  const found = wouldChange.map((text) => el("li", {}, sentence(text)));
  const unclear = Object.values(findings.band ?? {}).some((band) => band && band.worst !== band.best);
  if (unclear) {
    found.push(el("li", {}, "The net result hangs on the order inside some bars: give finer candles (", el("code", {}, "--detail"), ") to know it."));
  }
  if (findings.optimization && !findings.walk_forward) {
    found.push(el("li", {}, "The optimized figures are the best of many tries. Validate them before you believe them."));
  }
  const command = findings.reproduce?.commands?.find((text) => text.includes("verify"));
  if (command) found.push(el("li", {}, "Do it all again and compare every bit: ", el("code", {}, command), "."));
  if (findings.comparison?.baseline?.figures.trades === 0) {
    found.push(el("li", {}, "No trade was made: loosen the filters of the strategy, or take a longer span."));
  } else if (findings.kind === "backtest") {
    found.push(el("li", {}, "This is one backtest: ", el("code", {}, "barwise run"), " searches, walks forward and judges."));
  }
  return found;
}

function figuresCard(findings, name) {
  const comparison = findings.comparison;
  if (!comparison) return null;
  const parts = COLUMNS.filter((part) => comparison[part]);
  const units = comparison.units ?? {};
  const known = Object.keys(units);
  const first = FIRST.filter((key) => known.includes(key));
  const rest = known.filter((key) => !first.includes(key));
  const pairs = DIFFERENCES.filter(([key]) => Object.keys(comparison.differences?.[key] ?? {}).length > 0);
  const head = el(
    "thead", {},
    el(
      "tr", {},
      el("th", { scope: "col" }, "figure"),
      ...parts.map((part) => el("th", { scope: "col", class: part === "buy_and_hold" ? "held" : "" }, partLabel(comparison, part))),
      ...pairs.map(([, part, base]) =>
        el("th", { scope: "col", class: "difference" }, `${partLabel(comparison, part)} less ${partLabel(comparison, base)}`),
      ),
    ),
  );
  const row = (key) =>
    el(
      "tr", { "data-figure": key },
      el("th", { scope: "row" }, LABELS[key] ?? words(key)),
      ...parts.map((part) => cell(comparison, part, key, units[key])),
      ...pairs.map(([pair]) => difference(comparison.differences[pair][key], key, units[key])),
    );
  const more = el("tbody", { hidden: true, id: "all-figures" }, ...rest.map(row));
  const all = button(`All ${known.length} figures`, () => {
    more.hidden = !more.hidden;
    all.setAttribute("aria-expanded", String(!more.hidden));
    all.textContent = more.hidden ? `All ${known.length} figures` : "Fewer figures";
  }, { "aria-expanded": "false", "aria-controls": "all-figures" });
  return el(
    "section",
    { class: "card run-figures", "aria-labelledby": "figures-title" },
    el("h2", { id: "figures-title" }, "Side by side"),
    scrolling(
      "Figures of all parts",
      el("table", {}, head, el("tbody", {}, first.map(row), bandRow(findings, parts, pairs.length)), more),
    ),
    el("div", { class: "run-foot" }, all, filesOf(name), spans(comparison, parts)),
  );
}

function partLabel(comparison, part) {
  return comparison[part]?.label ?? labelOf(part);
}

function cell(comparison, part, key, unit) {
  const value = comparison[part].figures?.[key] ?? null;
  const held = part === "buy_and_hold" ? "held" : null;
  if (value === null) {
    return el("td", { class: held, title: comparison[part].undefined?.[key] }, el("span", { class: "muted" }, NOTHING));
  }
  const text = figure(value, unit, { signed: SIGNED.has(key) });
  return el("td", { class: held }, COLOURED.has(key) && !held ? coloured(value, text) : text);
}

function difference(value, key, unit) {
  if (value === undefined || value === null) {
    return el("td", { class: "difference muted", title: "not subtracted: the spans differ" }, "–");
  }
  const better = NEITHER.has(key) ? 0 : LESS_IS_BETTER.has(key) ? -value : value;
  return el("td", { class: "difference" }, coloured(better, figure(value, unit, { signed: true, difference: true })));
}

// What the net result hangs on where a bar leaves the order of its events open.
function bandRow(findings, parts, differences) {
  const cells = parts.map((part) => {
    const band = findings.band?.[part];
    const held = part === "buy_and_hold" ? "held" : "";
    if (!band) return el("td", { class: held }, el("span", { class: "muted" }, NOTHING));
    const open = band.ambiguous_trades;
    const trades = `${open} ${open === 1 ? "trade" : "trades"} unclear`;
    const same = band.worst === band.best;
    return el(
      "td", { class: `band ${held}` },
      same ? "exact" : `${money(band.worst)} .. ${money(band.best)}`,
      el("small", { class: "muted" }, open ? trades : "no trade unclear"),
    );
  });
  return el(
    "tr", { "data-figure": "band" },
    el("th", { scope: "row", title: "net result under the worst and the best reading of bars that leave the order of their events open" }, "band of net result"),
    ...cells,
    ...Array.from({ length: differences }, () => el("td", { class: "difference" })),
  );
}

function spans(comparison, parts) {
  const told = parts
    .filter((part) => part !== "buy_and_hold" && comparison[part].span)
    .map((part) => {
      const span = comparison[part].span;
      return `${partLabel(comparison, part)}: ${day(Date.parse(span.first_bar))} .. ${day(Date.parse(span.end))}, ${count(span.bars)} bars`;
    });
  if (told.length < 2) return null;
  return el("p", { class: "muted" }, `${told.join("; ")}. Differences of percentages are percentage points (pp).`);
}
