// Equity of several runs on one calendar of days.

import { get, runPath } from "../api.js";

const DAY_MS = 86_400_000;
const POINTS = 10_000; // more than a year of hours: closes of days are then what they were

// The equity of these parts of each run: a list of {part, time, equity, bars} per run.
export async function curvesOf(runs, parts, signal) {
  const answers = await Promise.all(runs.map((run) => get(runPath(run, "equity"), { parts, points: POINTS }, { signal })));
  return answers.map(({ series }) => series.filter((one) => one.time.length));
}

// What equal parts of money made that are left alone from the first day all curves share: {time, percent, drawdown} at
// the beginning of that day and at the ends of all days; null where they share no time.
export function apart(curves) {
  if (curves.length < 2) return null;
  const first = Math.floor(Math.max(...curves.map(({ time }) => time[0])) / DAY_MS);
  const last = Math.ceil(Math.min(...curves.map(({ time }) => time.at(-1))) / DAY_MS);
  if (last <= first) return null;
  const time = Array.from({ length: last - first + 1 }, (_, at) => (first + at) * DAY_MS);
  const grown = curves.map((curve) => onDays(curve, time));
  const whole = time.map((_, at) => grown.reduce((sum, values) => sum + values[at] / values[0], 0) / grown.length);
  let peak = 1;
  const drawdown = whole.map((value) => {
    peak = Math.max(peak, value);
    return 100 * (value / peak - 1);
  });
  return { time, percent: whole.map((value) => 100 * (value - 1)), drawdown };
}

// What a curve had last at each time, and before its first point what it had there.
function onDays({ time, equity }, days) {
  let at = 0;
  return days.map((day) => {
    while (at + 1 < time.length && time[at + 1] <= day) at += 1;
    return equity[at];
  });
}
