// Trading time: the axis of a market that closes has no holes for its nights and weekends, and its bars stand side by side.
//
// A place on the axis is a time less everything that was closed before it. Where a market never closes they are the same.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WITHIN_A_DAY = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((minutes) => minutes * MINUTE);
const DAYS = [1, 2, 4, 7, 14];
const MONTHS = [1, 2, 3, 6, 12, 24, 60];
const MONTH_LENGTH = 30.4 * DAY;
const CLOSEST = 0.55; // of the distance that was asked for; a mark that is nearer to the one before is left out
const NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// `closed`: spans [end of a bar, open of the next] in ms, in order.
export function tradingTime(closed) {
  const from = closed.map(([end]) => end);
  const to = closed.map(([, open]) => open);
  const before = []; // closed before each span
  const places = [];
  let sum = 0;
  for (let i = 0; i < closed.length; i += 1) {
    before.push(sum);
    places.push(from[i] - sum);
    sum += to[i] - from[i];
  }

  // A time while it is closed stands where it opens again.
  function place(time) {
    const i = last(from, time);
    if (i < 0) return time;
    return time < to[i] ? places[i] : time - before[i] - (to[i] - from[i]);
  }

  // At the edge of a closed span, the time at which it opens.
  function time(place) {
    const i = last(places, place);
    return i < 0 ? place : place + before[i] + to[i] - from[i];
  }

  // About `count` marks in a span of places: [{place, text, strong: a new day, month or year}].
  function ticks([first, end], count) {
    const wanted = (end - first) / Math.max(count, 1);
    const found = [];
    const add = (at, text, strong) => {
      const x = place(at);
      const near = found.length && x - found.at(-1).place < CLOSEST * wanted;
      if (x < first || x > end || (near && !strong)) return;
      if (near) {
        if (found.at(-1).strong || x === found.at(-1).place) return;
        found.pop();
      }
      found.push({ place: x, text, strong });
    };
    const [begin, stop] = [time(first), time(end)];
    const stretch = (stop - begin) / Math.max(end - first, 1); // of real time over trading time
    const within = WITHIN_A_DAY.find((step) => step >= wanted);
    if (within && within * stretch < DAY) {
      for (let at = Math.floor(begin / DAY) * DAY; at <= stop; at += DAY) dayOf(at, within, begin, stop, add);
      return found;
    }
    const days = DAYS.find((step) => step * DAY >= wanted * stretch);
    if (days) {
      for (let at = Math.floor(begin / DAY / days) * days * DAY; at <= stop; at += days * DAY) {
        const date = new Date(at);
        const isNew = date.getUTCDate() <= days;
        add(at, isNew && date.getUTCMonth() === 0 ? String(date.getUTCFullYear()) : dayName(at), isNew);
      }
      return found;
    }
    const months = MONTHS.find((step) => step * MONTH_LENGTH >= wanted * stretch) ?? MONTHS.at(-1);
    const start = new Date(begin);
    for (let month = start.getUTCFullYear() * 12 + start.getUTCMonth(); ; month += 1) {
      const at = Date.UTC(Math.floor(month / 12), month % 12);
      if (at > stop) return found;
      if (month % months) continue;
      add(at, month % 12 ? NAMES[month % 12] : String(Math.floor(month / 12)), month % 12 === 0);
    }
  }

  // The marks of one day: its first has its name, the others the time of day.
  function dayOf(day, step, begin, stop, add) {
    const opens = time(place(day));
    if (opens < day + DAY) add(opens, dayName(opens), true);
    for (let at = Math.max(day + step, Math.ceil(begin / step) * step); at < Math.min(day + DAY, stop + 1); at += step) {
      const i = last(from, at);
      if (i < 0 || at >= to[i]) add(at, new Date(at).toISOString().slice(11, 16), false);
    }
  }

  return { closes: closed.length > 0, place, time, ticks };
}

function dayName(at) {
  const date = new Date(at);
  return `${NAMES[date.getUTCMonth()]} ${date.getUTCDate()}`;
}

// The last place whose value is at most this; -1 where none is.
function last(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
