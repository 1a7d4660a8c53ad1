// What candles are stored: the list, and one series with its gaps, what its audit found, and its candles.

import { get } from "../api.js";
import { count, counted, day, el, empty, heading, number, stylesheet, svg, table } from "../ui.js";
import { series } from "./data_series.js";
import { section, sheet, size } from "./figures.js";

const WIDE = 180;
const HIGH = 12;

export async function show(root, params, context) {
  await Promise.all([stylesheet("views/figures.css"), stylesheet("views/data.css")]);
  if (params.symbol) await series(root, params, context);
  else await list(root, context);
}

async function list(root, { signal, title, navigate }) {
  title("Data");
  const [stored, ledger] = await Promise.all([get("/data", {}, { signal }), get("/ledger", {}, { signal })]);
  const { markets } = stored;
  root.replaceChildren(
    heading("Data", el("span", { class: "muted" }, markets.length ? `${count(markets.length)} series, ${size(stored.bytes)}` : "")),
    markets.length ? store(markets, navigate) : empty(
      "No candles are stored yet",
      "Put a file in with ", el("code", null, "barwise data import FILE"), ", or get some from an exchange with ",
      el("code", null, "barwise download"), ". The market SAMPLE needs none: its candles are made when they are asked for.",
    ),
    section("Trial ledger", ...ledgerParts(ledger)),
  );
}

// -- The store --------------------------------------------------------------------------------------------------------

function store(markets, navigate) {
  const ends = [Math.min(...markets.map((one) => one.first_ms)), Math.max(...markets.map((one) => one.last_ms))];
  const open = (one) => navigate(address(one));
  return table({
    caption: "Stored candles",
    columns: [
      { key: "symbol", label: "Market", heading: true, text: true, sort: true,
        cell: (one) => el("a", { class: "plain", href: address(one) }, el("b", null, one.symbol), one.synthetic && el("span", { class: "synthetic" }, "SYNTHETIC")) },
      { key: "exchange", label: "Exchange", text: true, sort: true },
      { key: "timeframe", label: "Bars of", text: true, sort: true },
      { key: "bars", label: "Bars", sort: true, cell: (one) => count(one.bars) },
      { key: "first_ms", label: "First", sort: true, cell: (one) => day(one.first_ms) },
      { key: "last_ms", label: "Last", sort: true, cell: (one) => day(one.last_ms) },
      { key: "gaps", label: "Gaps", sort: true, cell: (one) => (one.gaps ? el("span", { class: "loss" }, count(one.gaps)) : "none") },
      { key: "missing", label: "Missing bars", sort: true, cell: (one) => count(one.missing) },
      { key: "spans", label: `${day(ends[0])} .. ${day(ends[1])}`, text: true, cell: (one) => timeLine(one, ends) },
      { key: "corrections", label: "Corrected", sort: true, title: "Bars that came again with other values",
        cell: (one) => count(one.corrections) },
      { key: "sources", label: "Source", text: true, cell: (one) => el("span", { class: "wraps" }, one.sources.join(", ")) },
      { key: "bytes", label: "Size", sort: true, cell: (one) => size(one.bytes) },
    ],
    rows: markets,
    open,
    cards: true,
  });
}

function address({ exchange, symbol, timeframe }) {
  return `#/data/${[exchange, symbol, timeframe].map(encodeURIComponent).join("/")}`;
}

// What is there and what is not, all series on the same span.
function timeLine({ spans, gaps, symbol, timeframe }, [first, last]) {
  const at = (ms) => (WIDE * (ms - first)) / Math.max(last - first, 1);
  const label = `${symbol} ${timeframe}: ${counted(spans.length, "span")}, ${counted(gaps, "gap")}`;
  return svg(
    "svg", { class: "time-line", viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, height: HIGH, role: "img", "aria-label": label },
    svg("rect", { class: "nothing", x: 0, y: 4, width: WIDE, height: 4 }),
    spans.map(({ start_ms: start, end_ms: end }) => svg("rect", {
      class: "there", x: at(start).toFixed(2), y: 1, height: 10, width: Math.max(at(end) - at(start), 0.6).toFixed(2),
    })),
  );
}

// -- The ledger -------------------------------------------------------------------------------------------------------

function ledgerParts(ledger) {
  if (!ledger.data_sets.length) {
    return [el("p", { class: "muted" }, "Nothing was searched yet. Every configuration a search tries is written down here, so that the best of many is judged as such.")];
  }
  const rows = ledger.data_sets.map((one) => [
    `${one.symbol} ${one.timeframe}`, one.exchange, `${day(one.first_ms)} .. ${day(one.last_ms)}`, count(one.bars),
    count(one.runs), count(one.trials), number(one.luck_line, 2),
  ]);
  return [
    el("p", null, `${counted(ledger.trials, "configuration")} in ${counted(ledger.total, "run")}, ${size(ledger.bytes)}. The more that were tried on the same candles, the better the best of them looks by luck alone.`),
    sheet(
      "Candles that were searched",
      ["market", "<exchange", "<span", "bars", "runs", "configurations", "Sharpe by luck alone"], rows,
      { most: 30 },
    ),
  ];
}
