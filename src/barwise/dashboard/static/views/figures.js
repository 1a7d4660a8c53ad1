// What the charts of a search, a verdict and many markets have in common: a frame that says what the chart shows, and
// marks that look the same wherever they stand. Colours are roles such as "@chosen": charts.js knows what they are.

import { get } from "../api.js";
import { draw } from "../charts.js";
import { el, empty, failure, number, percent, spinner } from "../ui.js";
import { price, sentence, whenSeen, words } from "./run_words.js";

const IN_PERCENT = new Set(["total_return", "cagr", "win_rate", "max_drawdown", "volatility", "exposure"]);
const IN_MONEY = new Set(["net_pnl", "expectancy", "fees", "slippage", "funding"]);
const COUNTED = new Set(["total_trades", "ambiguous_trades", "losing_trades", "trades"]);

let figures = 0;

// A record's name in words, with a capital.
export function title(name) {
  const text = words(name);
  return text[0].toUpperCase() + text.slice(1);
}

// `1 trade`, `2 trades`.
export function counted(count, noun) {
  return `${number(count, 0)} ${noun}${count === 1 ? "" : "s"}`;
}

// An amount without unit: whole units from 1,000 on, cents below, significant digits below a cent.
export function amount(value, sign = false) {
  if (value === null || value === undefined) return "n/a";
  const size = Math.abs(value);
  const decimals = size > 0 && size < 0.1 ? Math.min(1 - Math.floor(Math.log10(size)), 12) : size >= 999.995 ? 0 : 2;
  return (sign && value > 0 ? "+" : "") + number(value, decimals);
}

// A percentage as the reports have it: one decimal, two below 1 %.
export function share(value, decimals = undefined, sign = false) {
  if (value === null || value === undefined) return "n/a";
  const shown = percent(value, decimals ?? (Math.abs(value) >= 0.995 ? 1 : 2));
  return sign && value > 0 && !shown.startsWith("+") ? `+${shown}` : shown;
}

// A parameter's value: up to eight significant digits, yes or no, and a dash for what is switched off.
export function setting(value) {
  if (value === null || value === undefined) return "off";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  return price(value);
}

// A value of an objective as people read it.
export function told(name, value) {
  if (IN_PERCENT.has(name)) return share(value);
  if (IN_MONEY.has(name)) return amount(value, true);
  return value === null || value === undefined ? "n/a" : number(value, COUNTED.has(name) ? 0 : 2);
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

// A part of a view under its heading; children that are null are left out.
export function section(heading, ...children) {
  const id = `section-${heading.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return el(
    "section", { class: "part", "aria-labelledby": id }, el("h2", { id }, heading),
    ...children.filter((child) => child !== null),
  );
}

// Why something is not here.
export function missing(text) {
  return el("p", { class: "missing" }, sentence(text));
}

// Sentences as a list; null without any.
export function listed(texts) {
  return texts?.length ? el("ul", { class: "sentences" }, ...texts.map((text) => el("li", {}, sentence(text)))) : null;
}

// A table that scrolls by itself where it is wider than the page. A heading that begins with "<" and the first column
// stand left; a cell is text, a node, or [text, class].
export function sheet(caption, header, rows, kind = "") {
  const heads = header.map((text, at) => {
    const left = text.startsWith("<") || at === 0;
    const name = text.replace(/^</, "");
    return name ? el("th", { scope: "col", class: left ? "left" : "" }, name) : el("td", {});
  });
  const lines = rows.map((row) => el("tr", {}, ...row.map((content, at) => cell(content, at, header[at]))));
  return el(
    "div", { class: `sheet ${kind}`.trim(), tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lines)),
  );
}

function cell(content, at, header) {
  const [text, kind] = Array.isArray(content) ? content : [content, ""];
  const left = at === 0 || header.startsWith("<") ? "left" : "";
  const attributes = { class: `${left} ${kind}`.trim() };
  return at === 0 ? el("th", { scope: "row", ...attributes }, text) : el("td", attributes, text);
}

// A signed amount in the colour of gain or loss; the sign says it too.
export function result(value, text = amount(value, true)) {
  return [text, value > 0 ? "gain" : value < 0 ? "loss" : ""];
}

// Figures with their names, most important first: [name, value, beside].
export function facts(...found) {
  return el(
    "dl", { class: "facts" },
    ...found.map(([name, value, beside]) =>
      el("div", {}, el("dt", {}, name), el("dd", { class: "value" }, value), beside ? el("dd", { class: "beside" }, beside) : ""),
    ),
  );
}

// Parts side by side where there is room; those that are null are left out.
export function pair(...children) {
  return el("div", { class: "pair" }, ...children.filter((child) => child !== null));
}

// A chart in its frame: the message above, what to know about it below.
//
// It is drawn when it comes near to what is seen, so that a page of forty charts opens as fast as one of three.
// A chart is null or {title, note, size, traces, layout, options, after}: `size` is a class of figures.css ("low", "tall", "small"),
// `after` is called with the node once it is drawn.
export function figure(chart, signal) {
  if (chart === null) return null;
  figures += 1;
  const id = `figure-${figures}`;
  const plot = el("div", { class: `plot ${chart.size ?? ""}`.trim() });
  const frame = el(
    "figure", { class: "chart", "aria-labelledby": id }, el("h3", { id }, chart.title), plot,
    ...(chart.note ? [el("figcaption", {}, chart.note)] : []),
  );
  whenSeen(plot, signal, async () => {
    await draw(plot, chart.traces, chart.layout, chart.options ?? {});
    if (!signal.aborted) chart.after?.(plot);
  });
  return frame;
}

// Fetch what a view shows and show the nodes that `page` makes of it, or say why it cannot be shown; `absent` says what
// to do where nothing is found (404).
export async function loaded(root, context, path, query, page, absent) {
  root.replaceChildren(spinner());
  root.setAttribute("aria-busy", "true");
  try {
    const found = await get(path, query, { signal: context.signal });
    const nodes = await page(found);
    if (!context.signal.aborted) root.replaceChildren(...nodes.filter((node) => node !== null));
  } catch (error) {
    if (context.signal.aborted) return;
    root.replaceChildren(error.status === 404 && absent ? empty(absent.title, absent.todo) : failure(error));
    if (error.status === undefined) throw error;
  } finally {
    root.removeAttribute("aria-busy");
  }
}

// -- Marks ------------------------------------------------------------------------------------------------------------

// An upright line over the whole height.
export function upright(x, color, line = {}) {
  return { type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color, width: 2, ...line } };
}

// Text beside the top of an upright line.
export function label(x, text, left) {
  return {
    x, y: 1, yref: "paper", yanchor: "top", text, showarrow: false, bgcolor: "@page",
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
    marker: { color, line: { color: "@page", width: 1 } },
    hovertemplate: `%{y} from %{customdata[0]:.3~f} to %{customdata[1]:.3~f}${unit}<extra>${name}</extra>`,
  };
}

// Ends of equal bins over values.
export function edgesOf(low, high, bins = 24) {
  if (!(high > low)) return [low - 0.5, high + 0.5];
  return Array.from({ length: bins + 1 }, (_, at) => low + (at * (high - low)) / bins);
}

// How many values lie in each bin; the last bin has its upper end.
export function binned(values, edges) {
  const counts = new Array(edges.length - 1).fill(0);
  const low = edges[0];
  const width = edges[1] - low;
  for (const value of values) {
    counts[Math.min(Math.max(Math.floor((value - low) / width), 0), counts.length - 1)] += 1;
  }
  return counts;
}

// A line of a chart.
export function line(name, x, y, color, style = {}) {
  return { type: "scatter", mode: "lines", name, x, y, line: { color, width: 1.8, ...style } };
}

// Marks of a chart.
export function dots(name, x, y, color, marker = {}) {
  return { type: "scatter", mode: "markers", name, x, y, marker: { color, size: 5, opacity: 0.7, ...marker } };
}

// The chosen point: one shape and colour in every chart.
export function star(x, y, name = "chosen") {
  return dots(name, [x], [y], "@chosen", {
    symbol: "star", size: 15, opacity: 1, line: { color: "@page", width: 1.5 },
  });
}

// The middle of values.
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// Room on both sides of a range.
export function roomy(low, high, room = 0.06) {
  const wide = room * (high - low) || 1;
  return [low - wide, high + wide];
}
