// Months by year and hours by weekday as tables whose cells are coloured: a number stands in every cell, or in its title.

import { counted, el, empty, money, number } from "../ui.js";
import { NOTHING, scrolling } from "./run_words.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const STRONGEST = 72; // percent of the colour, so that the ink stays readable

// Returns by month in percent, one row a year, with the year's own return at the end.
export function monthlyHeat(months, yearly) {
  if (!months?.length) return empty("No month to show", "The span is shorter than a month.");
  const years = [...new Set(months.map((one) => one.year))].sort();
  const largest = Math.max(...months.map((one) => Math.abs(one.return ?? 0)), 1e-9);
  const rows = years.map((year) => {
    const own = months.filter((one) => one.year === year);
    const total = yearly.find((one) => one.year === year)?.return ?? null;
    return el(
      "tr", {},
      el("th", { scope: "row" }, String(year)),
      ...MONTHS.map((_, i) => heatCell(own.find((one) => one.month === i + 1)?.return ?? null, largest, (value) => signed(value))),
      el("td", { class: "total" }, total === null ? NOTHING : signed(total)),
    );
  });
  return table("Returns by month, percent", ["year", ...MONTHS, "year"], rows, "months");
}

// Net result by the hour and weekday of entry.
export function hourlyHeat(hours) {
  const known = (hours ?? []).filter((one) => one.trades > 0);
  if (!known.length) return empty("No hour to show", "No trade was made.");
  const largest = Math.max(...known.map((one) => Math.abs(one.net)), 1e-9);
  const rows = WEEKDAYS.map((day, weekday) =>
    el(
      "tr", {},
      el("th", { scope: "row" }, day),
      ...HOURS.map((hour) => {
        const one = known.find((other) => other.weekday === weekday && other.hour === hour);
        if (!one) return el("td", {});
        const text = `${day} ${String(hour).padStart(2, "0")}:00, ${counted(one.trades, "trade")}, net ${money(one.net, { signed: true })}`;
        const cell = heatCell(one.net, largest, (value) => (Math.abs(value) >= 1000 ? `${number(value / 1000, 1)}k` : number(value, 0)));
        cell.title = text;
        return cell;
      }),
    ),
  );
  return table("Net result by weekday and hour of entry, UTC", ["", ...HOURS.map((hour) => String(hour).padStart(2, "0"))], rows, "hours");
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
