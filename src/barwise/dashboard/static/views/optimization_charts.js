// The charts of a search: what was tried, what came of it, what mattered. No trial vanishes from a chart without being
// counted beside it: not one that was given up early, not one without a value, not one left out because marks would
// lie on top of each other.

import { count, counted, percent, price, words } from "../ui.js";
import { axisTitle, capital, dots, finite, line, plain, roomy, star, told, upright } from "./figures.js";

const STATES = {
  pruned: ["given up early", "@muted", { opacity: 0.4 }],
  infeasible: ["broke a guard", "@broken", { symbol: "circle-open" }],
  complete: ["run to the end", "@done", {}],
};
const MIDDLE = [0.01, 0.99]; // of the values: a frame holds them where the rest lies far outside
const LARGEST_TAIL = 2;
const EDGE = 0.02; // of the frame, from its lower edge to the marks of trials without a value
const BEST_SHARE = 0.05;
const UPPER_SHARE = 0.25;
const MOST_LEVEL_AXES = 8; // of parallel coordinates; with more, names stand upright
const HEIGHTS = [0.1, 0.3, 0.5, 0.7, 0.9]; // where an axis can be clicked; each holds a fifth of it

// A range that holds `always` and the middle of the values, and how many lie outside.
function frameOf(values, ...always) {
  const known = finite(values).sort((a, b) => a - b);
  const ends = finite(always);
  if (known.length) {
    const [low, high] = MIDDLE.map((part) => known[Math.round(part * (known.length - 1))]);
    const far = known.at(-1) - known[0] > LARGEST_TAIL * (high - low);
    ends.push(...(far ? [low, high] : [known[0], known.at(-1)]));
  }
  const range = ends.length ? roomy(Math.min(...ends), Math.max(...ends)) : [0, 1];
  return [range, known.filter((value) => value < range[0] || value > range[1]).length];
}

// -- History ----------------------------------------------------------------------------------------------------------

// All trials in the order they were made, the best so far, and how far luck alone would have come.
export function historyChart(course, objective) {
  const bests = finite(course.best);
  const [range, outside] = frameOf(course.value, bests[0], bests.at(-1), course.luck?.at(-1) ?? null);
  const traces = [];
  for (const [state, [label, color, marker]] of Object.entries(STATES)) {
    const rows = course.trial.map((_, at) => at).filter((at) => course.state[at] === state && course.value[at] !== null);
    if (rows.length) {
      traces.push({
        ...dots(label, rows.map((at) => course.trial[at]), rows.map((at) => course.value[at]), color, marker),
        hovertemplate: "trial %{x}: %{y:.3~f}",
      });
    }
  }
  const undefinedOnes = course.trial.filter((_, at) => course.value[at] === null);
  if (undefinedOnes.length) {
    const edge = range[0] + EDGE * (range[1] - range[0]);
    traces.push(dots("without a value", undefinedOnes, undefinedOnes.map(() => edge), "@broken", { symbol: "x-thin-open" }));
  }
  traces.push(line("best so far", course.trial, course.best, "@ink", { shape: "hv", width: 2 }));
  if (course.luck) traces.push(line("luck alone", course.trial, course.luck, "@luck", { dash: "dot" }));
  const begins = course.begins.slice(1);
  return {
    title: historyTitle(course, objective),
    note: historyNote(course, undefinedOnes.length, outside),
    size: "tall",
    traces,
    layout: {
      hovermode: "closest",
      showlegend: true,
      xaxis: { title: { text: "trial" }, range: [0, course.total + 1] },
      yaxis: { title: axisTitle(objective), range },
      shapes: begins.map(({ trial }) => upright(trial, "@rule", { width: 1 })),
      annotations: course.begins.length < 2 ? [] : course.begins.map(({ stage, trial }) => ({
        x: trial, y: 1, yref: "paper", xanchor: "left", yanchor: "top", showarrow: false, text: `stage ${stage}`,
        font: { color: "@muted" },
      })),
    },
  };
}

function historyTitle(course, objective) {
  const found = finite(course.best);
  const made = counted(course.total, "trial");
  if (!found.length) return `None of ${made} kept all guards`;
  const text =
    `The best ${words(objective)} went from ${told(objective, found[0])} to ${told(objective, found.at(-1))} in ${made}`;
  return course.luck
    ? `${text}; of as many configurations without any edge the best reaches ${told(objective, course.luck.at(-1))} by luck`
    : text;
}

function historyNote(course, undefinedOnes, outside) {
  const notes = [];
  const drawn = course.trial.length;
  const pruned = course.state.filter((state) => state === "pruned").length;
  if (pruned) notes.push(`${counted(pruned, "trial")} given up early: drawn with what they had when they were given up.`);
  if (undefinedOnes) {
    notes.push(`${counted(undefinedOnes, "trial")} without a value (no trade, or a metric that is not defined) at the lower edge.`);
  }
  if (drawn < course.total) {
    notes.push(`${count(drawn)} of ${counted(course.total, "trial")} are drawn, evenly spread; the best so far follows all of them.`);
  }
  if (course.luck) {
    notes.push(
      "Luck alone: the Sharpe ratio to expect over this span from the best of all different configurations on record " +
        "for these data so far, if none has an edge.",
    );
  }
  if (outside) notes.push(`${counted(outside, "trial")} outside the frame: a double click shows all.`);
  return notes.join(" ");
}

// -- Importance -------------------------------------------------------------------------------------------------------

const METHODS = {
  "ped-anova": "PED-ANOVA: in which parameters the best tenth of the trials differs from the rest.",
  fanova: "fANOVA: whose changes make up how much of the variance of the objective.",
};

// Shares of the parameters with the range of their bootstrap samples.
export function importanceChart(found) {
  if (!found.shares.length) return null;
  const shares = [...found.shares].reverse();
  const names = shares.map(({ name }) => name);
  const first = found.shares[0];
  const traces = [{
    type: "bar", orientation: "h", name: "share", x: shares.map(({ share }) => share), y: names,
    marker: { color: "@done" }, hovertemplate: "%{y}: %{x:.1f} %<extra></extra>",
  }];
  const ranged = shares.filter(({ low }) => low !== null);
  if (ranged.length) {
    traces.push({
      ...line(
        "80 % of bootstrap samples", ranged.flatMap(({ low, high }) => [low, high, null]),
        ranged.flatMap(({ name }) => [name, name, null]), "@ink", { width: 1.5 },
      ),
      mode: "lines+markers",
      marker: { color: "@ink", symbol: "line-ns-open", size: 9 },
      hovertemplate: "%{y}: %{x:.1f} %<extra></extra>",
    });
  }
  const left = found.total - found.usable;
  const from = found.used < found.usable
    ? `${count(found.used)} of ${counted(found.usable, "trial")}, evenly spread,`
    : `the ${counted(found.used, "trial")}`;
  const rest = left ? ` (${count(left)} others do not count)` : "";
  return {
    title: `Stage ${found.stage}: ${first.name} told good trials from bad more than any other, ${percent(first.share, 0)} of it`,
    note:
      `${METHODS[found.method]} From ${from} that were run to the end and have a value${rest}.` +
      (ranged.length ? " A range wide enough to cover another bar says that their order is not known." : ""),
    traces,
    layout: {
      showlegend: ranged.length > 0,
      xaxis: { title: { text: "share of importance (%)" }, rangemode: "tozero" },
      yaxis: { type: "category" },
    },
  };
}

// -- Parallel coordinates ---------------------------------------------------------------------------------------------

// Each trial as a line over all parameters and the objective, the best ones in colour. `brushes` is a Map from axis to
// the height at which it was clicked: only trials that pass all of them keep their colour.
export function parallelChart(found, brushes) {
  const axes = [
    ...found.axes.map((axis) => ({ ...axis, tell: price })),
    {
      name: words(found.objective), values: found.values, low: lowest(found.values), high: highest(found.values),
      tell: (value) => told(found.objective, value),
    },
  ];
  const place = ({ values, low, high }, row) => {
    if (values[row] === null) return null;
    return high > low ? Math.min(Math.max((values[row] - low) / (high - low), 0), 1) : 0.5;
  };
  const rows = found.rank.map((_, row) => row).filter((row) => found.rank[row] !== null);
  const passes = (row) => [...brushes].every(([at, height]) => {
    const where = place(axes[at], row);
    return where !== null && where >= height - 0.1 && where <= height + 0.1;
  });
  const best = Math.ceil(BEST_SHARE * found.ranked);
  const upper = Math.ceil(UPPER_SHARE * found.ranked);
  const kept = rows.filter(passes);
  const groups = [
    ["not chosen by the axes", brushes.size ? rows.filter((row) => !passes(row)) : [], "@rule", 0.6, 0.5],
    ["the others", kept.filter((row) => found.rank[row] > upper), "@muted", 0.7, brushes.size ? 0.8 : 0.35],
    ["best quarter", kept.filter((row) => found.rank[row] > best && found.rank[row] <= upper), "@done", 1, 0.7],
    ["best twentieth", kept.filter((row) => found.rank[row] <= best), "@up", 1.5, 0.9],
    ["start", [found.start], "@ink", 2, 1, "dot"],
    ["chosen", [found.chosen], "@pick", 3, 1],
  ];
  const traces = groups.filter(([, members]) => members.length).map(([name, members, color, width, opacity, dash]) => ({
    ...line(
      name, members.flatMap(() => [...axes.keys(), null]),
      members.flatMap((row) => [...axes.map((axis) => place(axis, row)), null]), color, { width, ...(dash ? { dash } : {}) },
    ),
    opacity,
    hoverinfo: "skip",
  }));
  traces.push(clickable(axes));
  const crowded = axes.length > MOST_LEVEL_AXES;
  const left = found.total - found.ranked;
  const notes = ["Each axis goes from the lowest to the highest value that was tried; click one to keep the trials that pass there, again to let go."];
  if (rows.length < found.ranked) notes.push(`${count(rows.length)} of ${counted(found.ranked, "trial")} are drawn, evenly spread by rank.`);
  if (left) notes.push(`${counted(left, "trial")} given up early or without a value not drawn.`);
  return {
    title: brushes.size
      ? `${counted(kept.length, "trial")} of ${count(rows.length)} drawn pass the ${brushes.size === 1 ? "axis" : "axes"} that were clicked`
      : `Where the best of ${counted(found.ranked, "trial")} lie`,
    note: notes.join(" "),
    size: "tall",
    traces,
    layout: {
      showlegend: true,
      hovermode: "closest",
      dragmode: false,
      xaxis: {
        tickvals: [...axes.keys()], ticktext: axes.map(({ name }) => plain(name)), range: [-0.35, axes.length - 0.65],
        zeroline: false, gridcolor: "@muted", tickangle: crowded ? -90 : -35, fixedrange: true,
      },
      yaxis: {
        range: crowded ? [-0.25, 1.25] : [-0.12, 1.12], showticklabels: false, ticks: "", showgrid: false,
        zeroline: false, fixedrange: true,
      },
      shapes: [...brushes].map(([at, height]) => ({
        type: "rect", x0: at - 0.07, x1: at + 0.07, y0: height - 0.1, y1: height + 0.1, fillcolor: "@band-inner",
        line: { color: "@ink", width: 1 },
      })),
      annotations: axes.flatMap(({ low, high, tell }, at) =>
        [[tell(low), -0.02, "top"], [tell(high), 1.02, "bottom"]].map(([text, y, yanchor]) => ({
          x: at, y, yanchor, text, showarrow: false, font: { size: 10 }, textangle: crowded ? -90 : 0,
        })),
      ),
    },
  };
}

const lowest = (values) => Math.min(...finite(values));
const highest = (values) => Math.max(...finite(values));

// Marks that cannot be seen, where an axis can be clicked; the pointer tells the values that stand there.
function clickable(axes) {
  const spots = axes.flatMap((axis, at) => HEIGHTS.map((height) => {
    const ends = [height - 0.1, height + 0.1].map((part) => axis.tell(axis.low + part * (axis.high - axis.low)));
    return { x: at, y: height, text: `${plain(axis.name)}: ${ends.join(" to ")}` };
  }));
  return {
    ...dots("axes", spots.map(({ x }) => x), spots.map(({ y }) => y), "@muted", { size: 22, opacity: 0 }),
    text: spots.map(({ text }) => text),
    hovertemplate: "%{text}<extra></extra>",
    showlegend: false,
  };
}

// -- Pairs and slices -------------------------------------------------------------------------------------------------

// Mean objective over two parameters, with the number of trials in each bin, the choice and one step around it.
export function pairChart(found, objective, direction) {
  const mean = found.mean;
  const around = found.plateau;
  const shapes = around
    ? [{
      type: "rect", x0: around.x[0], x1: around.x[1], y0: around.y[0], y1: around.y[1],
      line: { color: "@ink", width: 2, dash: "dot" },
    }]
    : [];
  const left = found.total - found.used;
  return {
    title: `${capital(words(objective))} by ${found.x} and ${found.y}`,
    note: [
      "Numbers: trials in each field; the colour is their mean, all other parameters as they had them.",
      around ? "Dotted: the plateau that is looked at, one step around the choice." : "",
      left ? `${counted(left, "trial")} given up early or without a value not counted.` : "",
    ].filter(Boolean).join(" "),
    traces: [
      {
        type: "heatmap", x: found.x_edges, y: found.y_edges, z: mean,
        text: found.count.map((row) => row.map((many) => (many ? String(many) : ""))),
        texttemplate: "%{text}", textfont: { size: 10 }, colorscale: "Cividis", reversescale: direction === "minimize",
        colorbar: { thickness: 9, outlinewidth: 0, title: { text: "mean", side: "right" } }, hoverongaps: false,
        hovertemplate: "mean %{z:.3~f} of %{text} trials<extra></extra>",
      },
      star(found.chosen.x, found.chosen.y),
    ],
    layout: {
      showlegend: false,
      hovermode: "closest",
      xaxis: { title: { text: plain(found.x) }, showgrid: false, zeroline: false },
      yaxis: { title: { text: plain(found.y) }, showgrid: false, zeroline: false },
      shapes,
    },
  };
}

// All drawn values of one parameter, and what came of them.
export function sliceChart(found, at) {
  const axis = found.axes[at];
  const [range] = frameOf(found.values, found.values[found.chosen]);
  const [start, end] = [found.start, found.chosen].map((row) => price(axis.values[row]));
  return {
    title: start === end ? `${axis.name}: stayed ${start}` : `${axis.name}: ${start} became ${end}`,
    size: "small",
    traces: [
      { ...dots("trials", axis.values, found.values, "@done", { size: 4 }), hovertemplate: "%{x}: %{y:.3~f}<extra></extra>" },
      star(axis.values[found.chosen], found.values[found.chosen]),
    ],
    layout: {
      showlegend: false,
      hovermode: "closest",
      margin: { l: 40, r: 8, t: 8, b: 28 },
      xaxis: { zeroline: false, nticks: 5 },
      yaxis: { range, zeroline: false, nticks: 5 },
    },
  };
}

// -- Several objectives -----------------------------------------------------------------------------------------------

// The first two of several objectives, and which trials no other beats in all.
export function frontChart(found) {
  const [first, second] = found.objectives;
  if (!second) return null;
  const rows = found.trial.map((_, row) => row);
  const others = rows.filter((row) => !found.on_front[row]);
  const front = rows.filter((row) => found.on_front[row]).sort((a, b) => first.values[a] - first.values[b]);
  const of = (members, { values }) => members.map((row) => values[row]);
  const beaten = found.usable - front.length;
  const notes = [];
  if (found.objectives.length > 2) {
    const more = found.objectives.slice(2).map(({ name }) => words(name)).join(", ");
    notes.push(`The front is that of all ${found.objectives.length} objectives, ${more} too.`);
  }
  if (others.length < beaten) notes.push(`${count(others.length)} of ${counted(beaten, "beaten trial")} are drawn, evenly spread.`);
  if (found.usable < found.total) notes.push(`${counted(found.total - found.usable, "trial")} without a full set of values not drawn.`);
  return {
    title: `Stage ${found.stage}: ${counted(front.length, "trial")} on the front, where better in one objective is worse in another`,
    note: notes.join(" "),
    traces: [
      dots("beaten by another", of(others, first), of(others, second), "@muted", { opacity: 0.45 }),
      dots("front", of(front, first), of(front, second), "@up", { size: 8, opacity: 1 }),
      star(first.values[found.chosen], second.values[found.chosen]),
    ].filter(({ x }) => x.length),
    layout: {
      showlegend: true,
      hovermode: "closest",
      xaxis: { title: axisTitle(first.name), zeroline: false },
      yaxis: { title: axisTitle(second.name), zeroline: false },
    },
  };
}

// -- Plateau ----------------------------------------------------------------------------------------------------------

// What one step down and one step up in each parameter leaves of the objective.
export function plateauChart(plateau, objective, direction) {
  if (plateau.undefined === plateau.neighbours) return null;
  const sign = direction === "minimize" ? -1 : 1;
  const around = [...plateau.parameters].reverse();
  const labels = around.map(({ name }) => name);
  const bar = (name, side, color) => ({
    type: "bar", orientation: "h", name, y: labels,
    x: around.map((one) => (one[side] === null ? null : sign * one[side])),
    marker: { color }, hovertemplate: `%{y}, ${name}: %{x:.3~f}<extra></extra>`,
  });
  const own = { color: "@pick", width: 2 };
  const limit = { color: "@pick", width: 1.5, dash: "dot" };
  const legend = (name, style) => line(name, [null], [null], "@pick", style);
  const known = plateau.kept !== null;
  const value = sign * plateau.value;
  const missing = around.flatMap(({ down, up }) => [down, up]).filter((one) => one === null).length;
  return {
    title: known
      ? `${percent(plateau.kept, 0)} of ${counted(plateau.neighbours, "neighbour")} keep at least ${percent(plateau.keeps, 0)} of the objective`
      : `How much of ${counted(plateau.neighbours, "neighbour")} is as good is not known: ${plateau.kept_reason}`,
    note: missing
      ? `${counted(missing, "step")} without a bar: outside what the strategy allows, or without a value (no trade, or a broken guard).`
      : "",
    size: "tall",
    traces: [
      legend("chosen", own), ...(known ? [legend(`${percent(plateau.keeps, 0)} of it`, limit)] : []),
      bar("one step down", "down", "@broken"), bar("one step up", "up", "@up"),
    ],
    layout: {
      showlegend: true,
      barmode: "group",
      bargap: 0.25,
      xaxis: { title: axisTitle(objective) },
      yaxis: { type: "category", dtick: 1 },
      shapes: [
        upright(value, own.color, own), ...(known ? [upright((plateau.keeps / 100) * value, limit.color, limit)] : []),
      ],
    },
  };
}

// -- Rungs ------------------------------------------------------------------------------------------------------------

// How many configurations were run on how much of the candles.
export function rungChart(rungs) {
  const colours = ["@done", "@up", "@luck", "@broken"];
  const traces = rungs.map(({ stage, levels }, at) => ({
    type: "bar",
    name: `stage ${stage}`,
    x: levels.map(({ share }) => percent(share, 0)),
    y: levels.map(({ configurations }) => configurations),
    text: levels.map(({ configurations }) => count(configurations)),
    textposition: "outside",
    cliponaxis: false,
    customdata: levels.map(({ bars }) => bars),
    marker: { color: colours[at % colours.length] },
    hovertemplate: "%{y} configurations on %{customdata:,} bars",
  }));
  const first = rungs.reduce((sum, { levels }) => sum + (levels[0]?.configurations ?? 0), 0);
  const last = rungs.reduce((sum, { levels }) => sum + (levels.at(-1)?.configurations ?? 0), 0);
  return {
    title: `${counted(first, "configuration")} on the first rung, ${count(last)} on all bars`,
    note: "Each rung sees more of the candles; what is behind on one does not go on to the next.",
    traces,
    layout: {
      showlegend: true,
      barmode: "group",
      hovermode: "closest",
      xaxis: { title: { text: "share of the candles" }, type: "category" },
      yaxis: { title: { text: "configurations" }, rangemode: "tozero" },
    },
  };
}
