// Names, colours and number formats that several parts of the view of a run share, so that each is said the same way.

import { el, money, number, percent } from "../ui.js";

export const NOTHING = "n/a";
export const PARTS = {
  baseline: { label: "baseline", color: "@muted", is: "the strategy as it was given" },
  optimized: { label: "optimized", color: "@long", is: "the best that the search found on the same bars" },
  out_of_sample: { label: "out-of-sample", color: "@ink", is: "searched in the past, traded in what came after" },
  buy_and_hold: { label: "buy and hold", color: "@short", is: "the market with the whole capital, without costs" },
};
export const TIERS = ["EMA touch", "limit order", "VWAP slice", "market order"];
export const EXITS = [
  "stop_loss", "trailing_stop", "take_profit", "trailing_take_profit", "opposite_signal", "strategy_exit",
  "end_of_data", "ruined",
];
const SPELT = {
  cagr: "CAGR", sqn: "SQN", mfe: "MFE", mae: "MAE", r: "R", sharpe: "Sharpe", sortino: "Sortino", pnl: "result",
  rsi: "RSI", ema: "EMA", atr: "ATR", vwap: "VWAP",
};

// `stop_loss` is `stop loss`.
export function words(name) {
  return String(name).split("_").map((word) => SPELT[word] ?? word).join(" ");
}

export function labelOf(part) {
  return PARTS[part]?.label ?? words(part);
}

export function sentence(text) {
  const trimmed = String(text).trim();
  const first = trimmed.startsWith("barwise ") ? trimmed.charAt(0) : trimmed.charAt(0).toUpperCase();
  return `${first}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? "" : "."}`;
}

// Up to eight significant digits and no exponent, as in the reports.
export function price(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (value === 0) return "0";
  const decimals = Math.min(Math.max(7 - Math.floor(Math.log10(Math.abs(value))), 0), 16);
  return value.toLocaleString("en-US", { maximumFractionDigits: decimals });
}

// A figure of the comparison in its unit: count | money | percent | ratio | R.
export function figure(value, unit, isDifference = false) {
  if (value === null || value === undefined) return NOTHING;
  const sign = isDifference && value > 0 ? "+" : "";
  if (unit === "count") return sign + number(value, 0);
  if (unit === "money") return sign + money(value);
  if (unit === "percent") return sign + (isDifference ? percent(value).replace(/%$/, "pp") : percent(value));
  return sign + number(value, 2) + (unit === "R" ? " R" : "");
}

// A signed amount in the colour of gain or loss; the sign says it too.
export function gain(value, text) {
  const kind = value > 0 ? "gain" : value < 0 ? "loss" : "";
  return el("span", { class: kind }, text);
}

export function section(id, title, note, ...children) {
  return el(
    "section",
    { class: "run-section", id, "aria-labelledby": `${id}-title` },
    el("header", { class: "run-section-head" }, el("h2", { id: `${id}-title` }, title), note && el("p", { class: "muted" }, note)),
    ...children,
  );
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
