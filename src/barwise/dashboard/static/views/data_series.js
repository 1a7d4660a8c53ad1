// One stored series: what it holds, what its audit found, where bars are missing, and its candles, of which only as many
// are fetched as the screen can show.

import { get } from "../api.js";
import { draw } from "../charts.js";
import {
  button, count, counted, day, debounce, el, failure, heading, market, price, table, when,
} from "../ui.js";
import { facts, figure, missing, section, size } from "./figures.js";

const MARGIN = 0.25; // of the window, fetched on each side
const PIXELS_PER_CANDLE = 4;
const DAY_MS = 86_400_000;
const SPANS = [["All", null], ["1 y", 365], ["90 d", 90], ["30 d", 30], ["7 d", 7], ["1 d", 1]];
const MOST_SHADES = 200;
const FEW = 20; // missing bars in the longest gap, before short ones cannot be seen beside it
const SEVERITIES = { error: "✗ error", warning: "! warning", info: "· note" };

export async function series(root, { exchange, symbol, timeframe }, context) {
  const { signal, title } = context;
  title(`${symbol} ${timeframe}`);
  // A server undoes one escape before it looks for the slashes of a path, so those of a symbol are escaped twice.
  const parts = [encodeURIComponent(exchange), encodeURIComponent(encodeURIComponent(symbol)), encodeURIComponent(timeframe)];
  const path = `/data/${parts.join("/")}`;
  const found = await get(path, { points: candlesFor(root) }, { signal });
  const chart = candles(path, found, context);
  root.replaceChildren(
    heading("Candles", market(found), el("a", { class: "push", href: "#/data" }, "All data")),
    facts(
      ["Bars", count(found.bars), `of ${found.timeframe}`],
      ["First", day(found.first_ms), when(found.first_ms).slice(11)],
      ["Last", day(found.last_ms), `opens ${when(found.last_ms).slice(11)} UTC`],
      ["Gaps", count(found.gaps.count), `${counted(found.gaps.missing, "bar")} missing, the longest ${count(found.gaps.longest)}`, -found.gaps.count],
      ["Audit", found.audit.ok ? "no error" : "errors", counted(found.audit.findings.length, "finding"), found.audit.ok ? 1 : -1],
      ["Stored", size(found.bytes), `${counted(found.files, "file")}, ${counted(found.corrections, "correction")}`],
    ),
    section("Candles", chart.node),
    section("What the audit found", audit(found.audit, chart)),
    section("Gaps", ...gaps(found, chart, signal)),
  );
  await chart.begin();
}

function candlesFor(node) {
  return Math.min(Math.max(Math.round((node.clientWidth || 1200) / PIXELS_PER_CANDLE), 60), 1_500);
}

// -- Candles ----------------------------------------------------------------------------------------------------------

function candles(path, found, { signal, keys }) {
  const plot = el("div", { class: "plot tall" });
  const told = el("p", { class: "muted candle-note", role: "status" });
  const trouble = el("div");
  const whole = [found.first_ms, found.last_ms + barOf(found)];
  let window = whole;
  let shown = found.candles;
  let running = null;

  const node = el(
    "div", { class: "card" },
    el(
      "div", { class: "row", role: "group", "aria-label": "Span" },
      SPANS.filter(([, days]) => days === null || days * DAY_MS < whole[1] - whole[0]).map(([label, days]) => (
        button(label, () => look(days === null ? whole : [window[1] - days * DAY_MS, window[1]]))
      )),
      button("◀", () => shift(-0.5), { "aria-label": "Earlier", title: "Earlier (h)" }),
      button("▶", () => shift(0.5), { "aria-label": "Later", title: "Later (l)" }),
      button("+", () => zoom(0.5), { "aria-label": "Zoom in", title: "Zoom in (+)" }),
      button("−", () => zoom(2), { "aria-label": "Zoom out", title: "Zoom out (-)" }),
    ),
    plot, told, trouble,
  );
  keys({ h: () => shift(-0.5), l: () => shift(0.5), "+": () => zoom(0.5), "-": () => zoom(2) });

  function inside([first, last]) {
    const width = Math.min(Math.max(last - first, 5 * barOf(found)), whole[1] - whole[0]);
    const start = Math.min(Math.max(first, whole[0]), whole[1] - width);
    return [Math.round(start), Math.round(start + width)];
  }

  const shift = (part) => look(window.map((end) => end + part * (window[1] - window[0])));
  const zoom = (factor) => {
    const [middle, half] = [(window[0] + window[1]) / 2, ((window[1] - window[0]) * factor) / 2];
    return look([middle - half, middle + half]);
  };

  // Show a span: what is there at once, and finer candles when they come.
  async function look(range) {
    window = inside(range);
    await render();
    fetchSoon();
  }

  const fetchSoon = debounce(async () => {
    running?.abort();
    running = new AbortController();
    const mine = running;
    const stop = () => mine.abort();
    signal.addEventListener("abort", stop, { once: true });
    const room = MARGIN * (window[1] - window[0]);
    const query = {
      start: Math.max(Math.floor(window[0] - room), 0), end: Math.ceil(window[1] + room),
      points: Math.round(candlesFor(plot) * (1 + 2 * MARGIN)),
    };
    try {
      ({ candles: shown } = await get(path, query, { signal: mine.signal }));
      trouble.replaceChildren();
      await render();
    } catch (error) {
      if (error.name !== "AbortError") trouble.replaceChildren(failure(error, () => look(window)));
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }, 120);

  async function render() {
    if (signal.aborted) return;
    const visible = shown.time.map((_, at) => at).filter((at) => shown.time[at] >= window[0] && shown.time[at] < window[1]);
    const low = Math.min(...visible.map((at) => shown.low[at]));
    const high = Math.max(...visible.map((at) => shown.high[at]));
    const room = visible.length ? 0.04 * (high - low) || 0.001 * high : 0;
    const holes = found.gaps.places.filter(({ start_ms: start, end_ms: end }) => end > window[0] && start < window[1]);
    plot.dataset.candles = String(visible.length);
    plot.dataset.timeframe = shown.timeframe;
    await draw(plot, traces(), {
      showlegend: false,
      hovermode: "x",
      margin: { l: 8, r: 64, t: 8, b: 28 },
      xaxis: { type: "date", range: window, rangeslider: { visible: false }, hoverformat: "%Y-%m-%d %H:%M UTC", anchor: "y2" },
      yaxis: { side: "right", domain: [0.24, 1], fixedrange: true, ...(visible.length ? { range: [low - room, high + room] } : {}) },
      yaxis2: { side: "right", domain: [0, 0.18], fixedrange: true, nticks: 3, tickformat: "~s", rangemode: "tozero" },
      // A candle stands around the time at which it opens, so its place begins half a bar before.
      shapes: holes.slice(0, MOST_SHADES).map(({ start_ms: first, end_ms: last }) => ({
        type: "rect", x0: first - barOf(found) / 2, x1: last - barOf(found) / 2, y0: 0, y1: 1, yref: "paper", fillcolor: "@loss-area", line: { width: 0 }, layer: "below",
      })),
    }, { signal, modebar: false, keepsZoom: false, onZoom: (range) => look(range ?? whole), label: `Candles of ${found.symbol}` });
    const merged = shown.merged > 1 ? `${count(shown.merged)} bars of ${shown.timeframe}` : shown.timeframe;
    told.textContent =
      `${counted(visible.length, "candle")} of ${merged}, ${when(window[0])} .. ${when(window[1])} UTC` +
      `${visible.length ? `, low ${price(low)}, high ${price(high)}` : ""}. ` +
      (holes.length ? `${counted(holes.length, "gap")} in it, shaded. ` : "") + "Drag to zoom, double click for all.";
  }

  function traces() {
    const rising = shown.close.map((close, at) => (close >= shown.open[at] ? "@gain" : "@loss"));
    return [
      {
        type: "candlestick", name: "price", x: shown.time, open: shown.open, high: shown.high, low: shown.low,
        close: shown.close, increasing: { line: { color: "@gain", width: 1 } },
        decreasing: { line: { color: "@loss", width: 1 } },
      },
      {
        type: "bar", name: "volume", x: shown.time, y: shown.volume, yaxis: "y2", marker: { color: rising, opacity: 0.5 },
        hovertemplate: "volume %{y:,.4~f}<extra></extra>",
      },
    ];
  }

  // A span of at least forty bars around a place.
  function jump(start, end) {
    const half = Math.max((end - start), 20 * barOf(found));
    const middle = (start + end) / 2;
    node.scrollIntoView({ block: "start" });
    return look([middle - half, middle + half]);
  }

  return { node, jump, begin: render };
}

const UNITS_MS = { M: 60_000, H: 3_600_000, D: DAY_MS, W: 7 * DAY_MS };

function barOf({ timeframe }) {
  return Number(timeframe.slice(0, -1)) * UNITS_MS[timeframe.at(-1)];
}

// -- Audit ------------------------------------------------------------------------------------------------------------

function audit({ findings }, chart) {
  if (!findings.length) return missing("Nothing: every check passed.");
  return table({
    caption: "What the audit found",
    columns: [
      { key: "severity", label: "Weight", text: true, heading: true,
        cell: ({ severity }) => el("span", { class: `finding-${severity}` }, SEVERITIES[severity] ?? severity) },
      { key: "kind", label: "Kind", text: true },
      { key: "count", label: "Count", cell: (one) => count(one.count) },
      { key: "message", label: "What", text: true,
        cell: (one) => el("span", { class: "wraps" }, one.message, one.hint && el("span", { class: "muted" }, ` ${one.hint}`)) },
      { key: "first_ms", label: "First", text: true,
        cell: (one) => (one.first_ms === null ? "–" : button(when(one.first_ms), () => chart.jump(one.first_ms, one.first_ms), {
          class: "quiet", title: "Show it in the chart",
        })) },
    ],
    rows: findings,
    cards: true,
  });
}

// -- Gaps -------------------------------------------------------------------------------------------------------------

function gaps(found, chart, signal) {
  const { places, omitted, missing: bars, longest, sessions } = found.gaps;
  if (!places.length) return [missing("No bar is missing between the first and the last one.")];
  const sizes = places.map((one) => one.bars);
  const line = figure({
    title: `${counted(found.gaps.count, "gap")}, ${counted(bars, "bar")} missing, ${count(longest)} in the longest`,
    note: "Each stem is a gap, as high as it has bars. A click shows it in the candles." +
      (omitted ? ` ${counted(omitted, "later gap")} not drawn.` : ""),
    size: "low",
    traces: [
      {
        type: "scatter", mode: "lines", name: "gaps", hoverinfo: "skip", line: { color: "@loss", width: 1.4 },
        x: places.flatMap((one) => [one.start_ms, one.start_ms, null]), y: sizes.flatMap((one) => [Math.max(...sizes) > FEW ? 0.7 : 0, one, null]),
      },
      {
        type: "scatter", mode: "markers", name: "gap", x: places.map((one) => one.start_ms), y: sizes,
        marker: { color: "@loss", size: 9 }, customdata: places.map((one) => when(one.end_ms)),
        hovertemplate: "%{y:,} bars missing until %{customdata} UTC<extra></extra>",
      },
    ],
    layout: {
      showlegend: false,
      hovermode: "closest",
      xaxis: { type: "date", range: [found.first_ms, found.last_ms], hoverformat: "%Y-%m-%d %H:%M UTC" },
      yaxis: { title: { text: "bars missing" }, ...scale(Math.max(...sizes)) },
    },
    options: {
      onClick: ({ points: [spot] }) => {
        const place = places[spot.pointNumber];
        if (spot.data.name === "gap") chart.jump(place.start_ms, place.end_ms);
      },
    },
  }, signal);
  const rows = table({
    caption: "Gaps, oldest first",
    columns: [
      { key: "start_ms", label: "From (UTC)", heading: true, text: true, cell: (one) => when(one.start_ms) },
      { key: "end_ms", label: "Until", text: true, cell: (one) => when(one.end_ms) },
      { key: "bars", label: "Bars missing", sort: true, cell: (one) => count(one.bars) },
      { key: "checked_ms", label: "Last asked for", text: true,
        cell: (one) => (one.checked_ms === null ? "never" : when(one.checked_ms)) },
    ],
    rows: places,
    open: (one) => chart.jump(one.start_ms, one.end_ms),
    most: 26,
  });
  return [
    line,
    el("details", null, el("summary", null, `All ${counted(places.length, "gap")} as a table`), rows),
    sessions.length > 0 && el("p", null, `Trading days without one bar: ${sessions.join(", ")}.`),
  ];
}

function scale(longest) {
  if (longest <= FEW) return { range: [0, longest * 1.15], rangemode: "tozero", tickformat: ",d", nticks: 5 };
  return { type: "log", range: [-0.15, Math.log10(longest) + 0.15], dtick: 1 };
}
