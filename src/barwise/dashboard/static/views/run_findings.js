// What each picture of the statistics says, in one sentence: its title, and its name for those who cannot see it.

import { counted, money, number, percent, words } from "../ui.js";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const ENOUGH = 30; // trades, below which a group says little

const plus = { signed: true };

export function monthsFinding({ monthly }) {
  const known = monthly.filter((one) => one.return !== null);
  if (!known.length) return "no month yet";
  const gained = known.filter((one) => one.return > 0).length;
  const sorted = [...known].sort((a, b) => a.return - b.return);
  const told = (one) => `${MONTHS[one.month - 1]} ${one.year} (${percent(one.return, 2, plus)})`;
  return `${gained} of ${counted(known.length, "month")} gained${known.length > 1 ? `; best ${told(sorted.at(-1))}, worst ${told(sorted[0])}` : ""}`;
}

export function hoursFinding({ hourly }) {
  const known = hourly.filter((one) => one.trades > 0);
  if (!known.length) return "no trade";
  const sorted = [...known].sort((a, b) => a.net - b.net);
  const told = (one) => `${WEEKDAYS[one.weekday]} ${String(one.hour).padStart(2, "0")}:00 (${money(one.net, plus)}, ${counted(one.trades, "trade")})`;
  const most = Math.max(...known.map((one) => one.trades));
  const few = most < ENOUGH ? `; no hour has more than ${counted(most, "trade")}, too few to lean on` : "";
  return `best ${told(sorted.at(-1))}${known.length > 1 ? `, worst ${told(sorted[0])}` : ""}${few}`;
}

export function distributionFinding({ sides, excursions, excursions_omitted: omitted, distribution }) {
  const trades = sum(sides, "trades");
  const results = excursions.map(resultIn(distribution.unit));
  const about = omitted ? "about " : "";
  return `${number(sum(sides, "wins"), 0)} of ${counted(trades, "trade")} won; the median is ${about}${told(median(results), distribution.unit)}`;
}

export function excursionsFinding({ excursions, distribution }) {
  const { unit } = distribution;
  const scale = (one) => (unit === "R" ? one.risk : 1);
  const lost = excursions.filter((one) => one.net <= 0).map((one) => one.mfe / scale(one));
  const won = excursions.filter((one) => one.net > 0).map((one) => Math.abs(one.mae) / scale(one));
  const said = [];
  if (lost.length) said.push(`half of the losers had been ${size(median(lost), unit)} ahead or more`);
  if (won.length) said.push(`half of the winners ${size(median(won), unit)} behind or worse`);
  return said.join("; ");
}

export function costsFinding({ costs }) {
  const [before, after] = [costs[0]?.amount, costs.at(-1)?.amount];
  if (!Number.isFinite(before) || !Number.isFinite(after)) return "not known";
  const taken = before - after;
  if (before <= 0) return `it lost ${money(-before)} before costs, and they took another ${money(taken)}`;
  const share = percent((100 * taken) / before, 0);
  return after < 0 ? `costs turned ${money(before, plus)} into ${money(after, plus)}` : `costs took ${money(taken)} of ${money(before)} (${share})`;
}

export function exitsFinding({ exits }) {
  if (!exits.length) return "no trade";
  const sorted = [...exits].sort((a, b) => b.trades - a.trades);
  const total = sum(exits, "trades");
  const most = `${number(sorted[0].trades, 0)} of ${number(total, 0)} left by ${words(sorted[0].reason)}`;
  const worst = [...exits].sort((a, b) => a.net_pnl - b.net_pnl)[0];
  return `${most} (${money(sorted[0].net_pnl, plus)})${worst !== sorted[0] && worst.net_pnl < 0 ? `; ${words(worst.reason)} cost most (${money(worst.net_pnl, plus)})` : ""}`;
}

export function tiersFinding({ tiers }) {
  const filled = (tiers ?? []).filter((one) => one.fills > 0);
  if (!filled.length) return "no fill on record";
  const first = [...filled].sort((a, b) => b.quantity - a.quantity)[0];
  const dearest = [...filled].filter((one) => Number.isFinite(one.shortfall_bp)).sort((a, b) => b.shortfall_bp - a.shortfall_bp)[0];
  const most = `tier ${first.tier}, ${first.name}, filled ${percent(first.quantity_share, 0)} of the quantity`;
  if (!dearest || dearest.shortfall_bp <= 0 || filled.length === 1) return most;
  return `${most}; tier ${dearest.tier} was dearest, ${number(dearest.shortfall_bp, 1, plus)} bp against the signal`;
}

function resultIn(unit) {
  return (one) => (unit === "R" ? one.net / one.risk : one.net);
}

function told(value, unit) {
  return unit === "R" ? `${number(value, 2, plus)} R` : money(value, plus);
}

function size(value, unit) {
  return unit === "R" ? `${number(value, 2)} R` : money(value);
}

function sum(rows, key) {
  return rows.reduce((total, row) => total + row[key], 0);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
