// Names, colours and small pieces that several parts of the view of a run share, so that each is said the same way.

import { el, money, number, percent, tone, words } from "../ui.js";

export const NOTHING = "n/a";
// As in the reports: the thickest is what was traded out-of-sample.
export const PARTS = {
  baseline: { label: "baseline", color: "@ink", width: 1.2, dash: "solid" },
  optimized: { label: "optimized", color: "@inside", width: 1.4, dash: "solid" },
  out_of_sample: { label: "out-of-sample", color: "@outside", width: 2.6, dash: "solid" },
  buy_and_hold: { label: "buy and hold", color: "@muted", width: 1, dash: "dot" },
};
export const TIERS = ["EMA touch", "limit order", "VWAP slice", "market order"];
export const EXITS = [
  "stop_loss", "trailing_stop", "take_profit", "trailing_take_profit", "opposite_signal", "strategy_exit",
  "end_of_data", "ruined",
];

const LENGTHS = { M: 60_000, H: 3_600_000, D: 86_400_000, W: 604_800_000 };

// Of a bar in ms: `15M` is 15 minutes.
export function lengthOf(timeframe) {
  const [, count, unit] = /^(\d+)([MHDW])$/.exec(timeframe) ?? [null, 1, "D"];
  return Number(count) * LENGTHS[unit];
}

// Trades of a walk-forward are numbered anew in each of its pieces.
export function sameTrade(one, other) {
  return one !== null && other !== null && one.trade_id === other.trade_id && (one.piece ?? null) === (other.piece ?? null);
}

// Its number, as the address of the page has it: 12, or 3.12 in the third piece of a walk-forward.
export function numberOf(trade) {
  return trade.piece ? `${trade.piece}.${trade.trade_id}` : String(trade.trade_id);
}

export function nameOf(trade) {
  return `Trade ${numberOf(trade)}`;
}

export function labelOf(part) {
  return PARTS[part]?.label ?? words(part);
}

// With a capital, unless it begins with a command, and a full stop.
export function sentence(text) {
  const trimmed = String(text).trim();
  const first = trimmed.startsWith("barwise ") ? trimmed.charAt(0) : trimmed.charAt(0).toUpperCase();
  return `${first}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? "" : "."}`;
}

// A figure of the comparison in its unit: count | money | percent | ratio | R; percentages that are a difference are
// percentage points.
export function figure(value, unit, { signed = false, difference = false } = {}) {
  if (value === null || value === undefined) return NOTHING;
  if (unit === "count") return number(value, 0, { signed });
  if (unit === "money") return money(value, { signed });
  if (unit === "percent") return difference ? percent(value, null, { signed }).replace(/%$/, "pp") : percent(value, null, { signed });
  return number(value, 2, { signed }) + (unit === "R" ? " R" : "");
}

// A text in the colour of gain or loss; its sign says it too.
export function coloured(value, text) {
  return el("span", { class: tone(value) }, text);
}

export function result(value) {
  return coloured(value, money(value, { signed: true }));
}

export function side(name) {
  return el("span", { class: "side-of-trade" }, el("span", { class: `arrow-${name}`, "aria-hidden": "true" }, name === "long" ? "▲ " : "▼ "), name);
}

// A part of the view under its heading.
export function section(id, title, ...children) {
  return el("section", { class: "run-section", id: `run-${id}`, "aria-labelledby": `run-${id}-title` }, el("h2", { id: `run-${id}-title` }, title), ...children);
}

// A region that scrolls by itself where it is too wide, with a table that is laid out by hand.
export function scrolling(label, table) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

// Calls `act` when the node comes near the window; what is never looked at is never asked for.
export function whenSeen(node, signal, act) {
  const watcher = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      act();
    },
    { rootMargin: "400px" },
  );
  watcher.observe(node);
  signal.addEventListener("abort", () => watcher.disconnect());
}
