// Runs side by side: what each found and in what they differ. What makes them incomparable is said first, because a
// higher figure is only better where everything else is the same. Each run has a letter and a colour, the same throughout.

import { get } from "../api.js";
import { button, count, day, el, empty, failure, heading, market, percent, stylesheet, verdictBadge, words } from "../ui.js";
import { figure, inUnit, line, listed, section, setting, sheet } from "./figures.js";
import { labelOf } from "./run_words.js";

const FEWEST = 2;
const MOST = 8;
const POINTS = 1200;
const WIDE = 4; // so many runs that figures and parameters need the whole width each
const LOOKS = [
  ["@outside", "solid"], ["@inside", "solid"], ["@target", "solid"], ["@luck", "solid"], ["@done", "dash"],
  ["@stop", "dash"], ["@muted", "dash"], ["@ink", "dot"],
];
const PARTS = ["", "baseline", "optimized", "out_of_sample"];
const SIGNED = new Set(["net_pnl", "total_return", "cagr", "expectancy", "expectancy_r", "net_pnl_per_30_days"]);

const letter = (at) => String.fromCharCode(65 + at);

function address(names, part) {
  const query = [names.length && `runs=${names.map(encodeURIComponent).join(",")}`, part && `part=${part}`].filter(Boolean);
  return `#/compare${query.length ? `?${query.join("&")}` : ""}`;
}

export async function show(root, params, context) {
  const names = [...new Set((params.runs ?? "").split(",").map((name) => name.trim()).filter(Boolean))];
  const part = PARTS.includes(params.part) ? params.part : "";
  context.title(names.length ? `Compare ${names.length} runs` : "Compare");
  await Promise.all([stylesheet("views/figures.css"), stylesheet("views/compare.css")]);
  const { runs } = await get("/runs", {}, { signal: context.signal });
  const head = [heading("Compare"), picker(names, part, runs, context)];
  if (names.length < FEWEST) {
    root.replaceChildren(...head, empty(
      "Choose two or more runs",
      "Add them above, or select them in the ", el("a", { href: "#/runs" }, "list of runs"), " and press c.",
    ));
    return;
  }
  root.replaceChildren(...head);
  let found;
  try {
    found = await get("/compare", { runs: names.join(","), part, points: POINTS }, { signal: context.signal });
  } catch (error) {
    if (error.status === undefined) throw error;
    root.append(failure(error)); // the picker stays, to leave out what cannot be compared
    return;
  }
  if (context.signal.aborted) return;
  root.append(
    found.warnings.length ? warned(found.warnings) : "",
    equity(found, context.signal),
    el(
      "div", { class: found.runs.length < WIDE ? "columns" : "stacked" },
      section("Figures", metrics(found)), section("Parameters", ...parameters(found)),
    ),
  );
}

// -- Which runs -------------------------------------------------------------------------------------------------------

function picker(names, part, runs, { navigate }) {
  const known = new Map(runs.map((run) => [run.name, run]));
  const others = runs.filter((run) => ["run", "backtest"].includes(run.kind) && run.market && run.metrics?.baseline
    && !names.includes(run.name));
  const chips = names.map((name, at) => el(
    "li", { class: "chip" },
    mark(at), el("a", { href: `#/run/${encodeURIComponent(name)}` }, known.has(name) ? market(known.get(name).market) : name),
    el("span", { class: "muted code" }, name.split("-").at(-1)),
    button("✕", () => navigate(address(names.filter((one) => one !== name), part)), {
      class: "quiet", "aria-label": `Leave out ${name}`, title: "Leave it out",
    }),
  ));
  const add = el(
    "select", {
      "aria-label": "Add a run", disabled: !others.length || names.length >= MOST,
      onchange: (event) => event.target.value && navigate(address([...names, event.target.value], part)),
    },
    el("option", { value: "" }, names.length >= MOST ? `${MOST} runs at most` : others.length ? "Add a run ..." : "No other run"),
    others.map(({ name, market: { symbol, timeframe } }) => el("option", { value: name }, `${symbol} ${timeframe} · ${name}`)),
  );
  const of = el(
    "select", { "aria-label": "Part of each run", onchange: (event) => navigate(address(names, event.target.value)) },
    PARTS.map((one) => el("option", { value: one, selected: one === part }, one ? labelOf(one) : "what each ended with")),
  );
  return el(
    "div", { class: "card picker" }, names.length > 0 && el("ul", { class: "chips", "aria-label": "Runs" }, chips),
    el("div", { class: "row" }, add, names.length > 0 && el("label", { class: "picked" }, "Part", of)),
  );
}

function mark(at) {
  return el("span", { class: `letter run-${at}` }, letter(at));
}

function warned(warnings) {
  return el(
    "section", { class: "card not-comparable", "aria-labelledby": "not-comparable" },
    el("h2", { id: "not-comparable" }, "What cannot be compared"), listed(warnings),
  );
}

// -- Equity -----------------------------------------------------------------------------------------------------------

function equity(found, signal) {
  const { begins_ms: begins, time, series } = found.equity;
  if (!time.length) return empty("No equity to draw", "The tables of these runs are not in data/exports any more.");
  const place = new Map(found.runs.map(({ name }, at) => [name, at]));
  const traces = series.map(({ name, part, values }) => {
    const at = place.get(name);
    const { symbol, timeframe } = found.runs[at].market;
    const [color, dash] = LOOKS[at];
    return {
      ...line(`${letter(at)} ${symbol} ${timeframe}, ${labelOf(part)}`, time, values, color, { dash, width: 2 }),
      hovertemplate: "%{y:+.2f} %",
    };
  });
  const last = series.map(({ name, values }) => `${letter(place.get(name))} ${percent(ending(values), null, { signed: true })}`);
  return figure({
    title: `Result: ${last.join(", ")}`,
    note: begins === null
      ? "They share no time: each curve begins at 0 % where it begins."
      : `In percent of what each had on ${day(begins)}, the first time that all of them cover.`,
    size: "tall",
    traces,
    layout: {
      showlegend: true,
      hovermode: "x unified",
      xaxis: { type: "date", hoverformat: "%Y-%m-%d %H:%M UTC" },
      yaxis: { title: { text: "result (%)" }, ticksuffix: " %", zeroline: true },
    },
  }, signal);
}

function ending(values) {
  return values.findLast((value) => value !== null) ?? null;
}

// -- Figures and parameters -------------------------------------------------------------------------------------------

function headers(found) {
  return found.runs.map(({ market: { symbol, timeframe } }, at) => `${letter(at)} ${symbol} ${timeframe}`);
}

function metrics(found) {
  const rows = found.metrics.map(({ name, label, unit, values, best }) => [
    label ?? words(name),
    ...values.map((value, at) => {
      const text = `${SIGNED.has(name) && value > 0 ? "+" : ""}${inUnit(value, unit)}`;
      return at === best
        ? el("b", { class: "best" }, el("span", { role: "img", "aria-label": "best" }, "★"), " ", text)
        : text;
    }),
  ]);
  const about = [
    ["run", ...found.runs.map(({ name }) => (
      el("a", { class: "code", href: `#/run/${encodeURIComponent(name)}`, title: name }, name.split("-").at(-1))
    ))],
    ["part", ...found.runs.map(({ part }) => labelOf(part))],
    ["verdict", ...found.runs.map(({ verdict }) => verdictBadge(verdict))],
    ["span", ...found.runs.map((run) => `${day(run.first_ms)} .. ${day(run.end_ms)}`)],
    ["bars", ...found.runs.map(({ bars }) => count(bars))],
  ];
  return sheet("★ marks the best of a figure that has one", ["figure", ...headers(found)], [...about, ...rows]);
}

function parameters(found) {
  const all = found.parameters;
  const differing = all.filter((one) => one.differs);
  const only = el("input", { type: "checkbox", id: "only-differences", checked: differing.length > 0 });
  const rowsOf = (chosen) => chosen.map(({ group, name, values, differs }) => [
    name, group,
    ...values.map((value) => (differs ? el("b", null, setting(value)) : setting(value))),
    differs ? "≠ differs" : "same",
  ]);
  const table = sheet(
    `${count(differing.length)} of ${count(all.length)} parameters differ`,
    ["parameter", "<group", ...headers(found), "<alike"], rowsOf(differing.length ? differing : all),
    { emptyText: "No parameter differs." },
  );
  only.addEventListener("change", () => table.update(rowsOf(only.checked ? differing : all)));
  return [el("label", { class: "picked", for: "only-differences" }, only, "Only differences"), el("div", { class: "parameters" }, table)];
}
