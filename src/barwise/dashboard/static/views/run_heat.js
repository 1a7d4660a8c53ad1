// Months by year and hours by weekday as tables whose cells are coloured: a number stands in every cell, or in its title.

import { counted, el, empty, money, number } from "../ui.js";
import { NOTHING, scrolling } from "./run_words.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const STRONGEST = 72; // percent of the colour, so that the ink stays readable

// Returns by month in percent, one row a year, with the year's own return at the end. On a narrow screen the rows are the
// months: a year then fits, and so does an hour by its weekdays below.
export function monthlyHeat(months, yearly, isNarrow) {
  if (!months?.length) return empty("No month to show", "The span is shorter than a month.");
  const years = [...new Set(months.map((one) => one.year))].sort();
  const largest = Math.max(...months.map((one) => Math.abs(one.return ?? 0)), 1e-9);
  const cell = (year, month) => heatCell(months.find((one) => one.year === year && one.month === month)?.return ?? null, largest, (value) => signed(value));
  const total = (year) => {
    const value = yearly.find((one) => one.year === year)?.return ?? null;
    return el("td", { class: "total" }, value === null ? NOTHING : signed(value));
  };
  const head = [...MONTHS.map((name, i) => [name, (year) => cell(year, i + 1)]), ["year", total]];
  return cross("Returns by month, percent", "months", years.map((year) => [String(year), year]), head, isNarrow);
}

// Net result by the hour and weekday of entry.
export function hourlyHeat(hours, isNarrow) {
  const known = (hours ?? []).filter((one) => one.trades > 0);
  if (!known.length) return empty("No hour to show", "No trade was made.");
  const largest = Math.max(...known.map((one) => Math.abs(one.net)), 1e-9);
  const cell = (weekday, hour) => {
    const one = known.find((other) => other.weekday === weekday && other.hour === hour);
    if (!one) return el("td", {});
    const made = heatCell(one.net, largest, short);
    made.title = `${WEEKDAYS[weekday]} ${twoDigits(hour)}:00, ${counted(one.trades, "trade")}, net ${money(one.net, { signed: true })}`;
    return made;
  };
  const head = HOURS.map((hour) => [twoDigits(hour), (weekday) => cell(weekday, hour)]);
  return cross("Net result by weekday and hour of entry, UTC", "hours", WEEKDAYS.map((name, i) => [name, i]), head, isNarrow);
}

// A table of rows [name, key] and columns [name, cell(key)], turned around where it is narrow.
function cross(caption, kind, rows, columns, isNarrow) {
  const lines = isNarrow
    ? columns.map(([name, cell]) => line(name, rows.map(([, key]) => cell(key))))
    : rows.map(([name, key]) => line(name, columns.map(([, cell]) => cell(key))));
  const names = (isNarrow ? rows : columns).map(([name]) => name);
  return table(caption, ["", ...names], lines, `${kind}${isNarrow ? " turned" : ""}`);
}

function line(name, cells) {
  return el("tr", {}, el("th", { scope: "row" }, name), ...cells);
}

function twoDigits(hour) {
  return String(hour).padStart(2, "0");
}

function short(value) {
  return Math.abs(value) >= 1000 ? `${number(value / 1000, 1, { signed: true })}k` : number(value, 0, { signed: true });
}

function heatCell(value, largest, told) {
  if (value === null) return el("td", {});
  const cell = el("td", { class: value < 0 ? "down" : "up" }, told(value));
  cell.style.setProperty("--strength", `${Math.round((Math.abs(value) / largest) * STRONGEST)}%`);
  return cell;
}

function signed(value) {
  return number(value, Math.abs(value) >= 10 ? 1 : 2, { signed: true });
}

function table(caption, columns, rows, kind) {
  return scrolling(
    caption,
    el(
      "table", { class: `run-heat ${kind}` },
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, ...columns.map((name) => (name ? el("th", { scope: "col" }, name) : el("td", {}))))),
      el("tbody", {}, ...rows),
    ),
  );
}
