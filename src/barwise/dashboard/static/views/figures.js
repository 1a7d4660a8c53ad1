// What the charts of a search, a verdict and many markets have in common: a frame that says what the chart shows, and
// marks that look the same wherever they stand. figures.css holds the colours that only they need.

import { get } from "../api.js";
import { draw } from "../charts.js";
import { day, el, empty, figures, money, number, percent, price, spinner, stylesheet, table, tone, words } from "../ui.js";
import { whenSeen } from "./run_words.js";

const IN_PERCENT = new Set(["total_return", "cagr", "win_rate", "max_drawdown", "volatility", "exposure"]);
const IN_MONEY = new Set(["net_pnl", "expectancy", "fees", "slippage", "funding"]);
const COUNTED = new Set(["total_trades", "ambiguous_trades", "losing_trades", "trades"]);

let made = 0;

// -- Words and numbers ------------------------------------------------------------------------------------------------

// Text with a capital.
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// A parameter's value: a number, yes or no, and "off" for what is not used.
export function setting(value) {
  if (value === null || value === undefined) return "off";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? price(value) : String(value);
}

// A value of an objective in its unit.
export function told(name, value) {
  if (IN_PERCENT.has(name)) return percent(value);
  if (IN_MONEY.has(name)) return money(value, { signed: true });
  return number(value, COUNTED.has(name) ? 0 : 2);
}

// A figure by the unit that the API names: count, money, percent, ratio, R.
export function inUnit(value, unit) {
  if (unit === "count") return number(value, 0);
  if (unit === "money") return money(value);
  if (unit === "percent") return percent(value);
  return unit === "R" && value !== null ? `${number(value, 2)} R` : number(value, 2);
}

// 1.2 MB
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const at = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0), units.length - 1);
  return `${number(bytes / 1000 ** at, at ? 1 : 0)} ${units[at]}`;
}

// An objective with its unit, as the title of an axis.
export function axisTitle(name) {
  const unit = IN_PERCENT.has(name) ? " (%)" : IN_MONEY.has(name) ? " (quote currency)" : "";
  return { text: plain(words(name)) + unit };
}

// Text that Plotly shows as it is: it reads markup in its texts.
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// -- Parts of a view --------------------------------------------------------------------------------------------------

// Fetch what a view shows and put the nodes that `page` makes of it into `root`; `absent` = {title, todo: nodes} says
// what to do where nothing is found. Other errors are shown by the frame of the page.
export async function loaded(root, context, path, query, page, absent) {
  root.replaceChildren(spinner());
  const style = stylesheet("views/figures.css");
  let found;
  try {
    found = await get(path, query, { signal: context.signal });
  } catch (error) {
    if (error.status !== 404 || !absent) throw error;
    root.replaceChildren(el("h1", { class: "unseen" }, absent.title), empty(absent.title, ...absent.todo));
    return;
  }
  await style;
  const nodes = await page(found);
  if (!context.signal.aborted) root.replaceChildren(...nodes.filter(Boolean));
}

// A part of a view under its heading; children that are null are left out.
export function section(heading, ...children) {
  const id = `part-${heading.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return el("section", { class: "part", "aria-labelledby": id }, el("h2", { id }, heading), ...children);
}

// Why something is not here.
export function missing(text) {
  return el("p", { class: "missing muted" }, text);
}

// Sentences as a list; null without any.
export function listed(texts) {
  return texts?.length ? el("ul", { class: "sentences" }, texts.map((text) => el("li", null, text))) : null;
}

// A table of rows that are lists. A heading that begins with "<" and the first column stand left; "~" wraps long text.
// A cell is text or a node.
export function sheet(caption, header, rows, options = {}) {
  const columns = header.map((label, at) => ({
    key: String(at),
    label: label.replace(/^[<~]/, ""),
    heading: at === 0,
    text: at === 0 || /^[<~]/.test(label),
    cell: label.startsWith("~") ? (row) => el("span", { class: "wraps" }, row[at]) : (row) => row[at],
  }));
  return table({ caption, captionShown: true, columns, rows, ...options });
}

// An amount in the colour of gain or loss; the sign says it too.
export function result(value, text = money(value, { signed: true })) {
  return el("span", { class: tone(value) }, text);
}

// Figures side by side: [label, value, beside, sign].
export function facts(...entries) {
  return figures(entries.map(([label, value, beside, sign]) => ({ label, value, beside, tone: sign ?? 0 })));
}

// Charts and tables side by side where there is room; those that are null are left out.
export function pair(...children) {
  return el("div", { class: "columns" }, children);
}

// A chart in its frame: the message above, what to know about it below. It is drawn when it comes near to what is seen,
// so that a page of forty charts opens as fast as one of three. A chart is null or {title, note, size, traces, layout,
// options}; `size` is a class: "low", "tall", "small".
export function figure(chart, signal) {
  if (!chart) return null;
  made += 1;
  const id = `figure-${made}`;
  const plot = el("div", { class: `plot ${chart.size ?? ""}`.trim() });
  whenSeen(plot, signal, async () => {
    try {
      await draw(plot, chart.traces, chart.layout, { signal, ...chart.options });
    } catch (error) {
      plot.replaceChildren(el("p", { class: "muted" }, error.message));
    }
  });
  return el(
    "figure", { class: "card chart", "aria-labelledby": id }, el("h3", { id }, chart.title), plot,
    chart.note && el("figcaption", null, chart.note),
  );
}

// -- Marks ------------------------------------------------------------------------------------------------------------

// An upright line over the whole height.
export function upright(x, color, line = {}) {
  return { type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color, width: 2, ...line } };
}

// Text beside the top of an upright line.
export function label(x, text, left) {
  return {
    x, y: 1, yref: "paper", yanchor: "top", text, showarrow: false, bgcolor: "@card",
    xanchor: left ? "right" : "left", xshift: left ? -5 : 5,
  };
}

// A histogram whose bins are known.
export function bars(name, color, edges, counts, unit = "") {
  const pairs = counts.map((_, at) => [edges[at], edges[at + 1]]);
  return {
    type: "bar",
    name,
    x: pairs.map(([low, high]) => (low + high) / 2),
    y: counts,
    width: pairs.map(([low, high]) => high - low || 1),
    customdata: pairs,
    marker: { color, line: { color: "@card", width: 1 } },
    hovertemplate: `%{y} from %{customdata[0]:.3~f} to %{customdata[1]:.3~f}${unit}<extra>${name}</extra>`,
  };
}

// Ends of equal bins from the lowest to the highest value.
export function edgesOf(low, high, bins = 24) {
  if (!(high > low)) return [low - 0.5, high + 0.5];
  return Array.from({ length: bins + 1 }, (_, at) => low + (at * (high - low)) / bins);
}

// How many values lie in each of equal bins; the last one has its upper end.
export function binned(values, edges) {
  const counts = new Array(edges.length - 1).fill(0);
  const width = edges[1] - edges[0];
  for (const value of values) {
    counts[Math.min(Math.max(Math.floor((value - edges[0]) / width), 0), counts.length - 1)] += 1;
  }
  return counts;
}

export function line(name, x, y, color, style = {}) {
  return { type: "scatter", mode: "lines", name, x, y, line: { color, width: 1.8, ...style } };
}

export function dots(name, x, y, color, marker = {}) {
  return { type: "scatter", mode: "markers", name, x, y, marker: { color, size: 5, opacity: 0.7, ...marker } };
}

// The chosen point: one shape and colour in every chart.
export function star(x, y, name = "chosen") {
  return dots(name, [x], [y], "@pick", { symbol: "star", size: 15, opacity: 1, line: { color: "@card", width: 1.5 } });
}

export function finite(values) {
  return values.filter((value) => value !== null && Number.isFinite(value));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// A range with room on both sides.
export function roomy(low, high, room = 0.06) {
  const wide = room * (high - low) || 1;
  return [low - wide, high + wide];
}

// A time axis so short that two months are all it has room for.
export function endTicks(first, last) {
  const [start, end] = [first, last].map((time) => new Date(time).getTime());
  const places = [0.13, 0.87].map((part) => start + part * (end - start));
  return { tickvals: places, ticktext: places.map((time) => day(time).slice(0, 7)), tickangle: 0 };
}
