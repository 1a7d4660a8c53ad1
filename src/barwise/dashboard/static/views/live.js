// A run while it happens: stages, how far it is, the best so far, trials and windows as they come, and the verdict.

import { ApiError, get, runPath, stream } from "../api.js";
import * as charts from "../charts.js";
import {
  card, count, debounce, duration, el, every, failure, figures, heading, number, paced, progress, stateBadge, stylesheet,
  verdictBadge, when, words,
} from "../ui.js";
import { Actions, sayConnection } from "./live_actions.js";
import { LiveState } from "./live_state.js";

const LOG_LINES = 200;
const TICK_MS = 1000;
const DRAW_MS = 200;
const LOWEST_SHARE = 0.02;

const short = (value) => number(value, 3);

export async function show(root, { name }, context) {
  const { signal, title, announce, keys } = context;
  title(`Live ${name}`);
  await stylesheet("views/live.css");
  const state = new LiveState(await get("/stages", {}, { signal }));
  const trouble = el("div");
  const result = { href: `#/run/${encodeURIComponent(name)}`, text: "See the result" };
  const actions = new Actions({ name, result, trouble, resumed: (job) => { if (job.plan) takeJob(job); } }, context);
  const parts = frame(name, actions.node, trouble);
  root.replaceChildren(...parts.nodes);
  let heard = false;

  function takeJob(told) {
    state.plan = told.plan;
    if (told.state === "failed" && told.error) trouble.replaceChildren(failure(told.error));
    state.version += 1;
    changed();
  }

  // -- Drawing, at most every DRAW_MS --

  let drawnVersion = -1;
  let drawnState = "";
  function draw() {
    if (signal.aborted || drawnVersion === state.version) return;
    drawnVersion = state.version;
    drawHead(parts, state);
    actions.draw(state.state);
    drawStages(parts, state);
    drawSteps(parts, state);
    drawVerdict(parts, state, name);
    drawHistory(parts, state, signal);
    drawWindows(parts, state, signal);
    if (drawnState !== state.state) {
      drawnState = state.state;
      const word = state.verdict ? `: ${state.verdict.word}` : "";
      if (state.settled) announce(`The run is ${state.state}${word}.`);
    }
  }

  const changed = paced(draw, DRAW_MS, signal);

  const readLog = debounce(async () => {
    try {
      const { lines, sources } = await get(runPath(name, "log"), { lines: LOG_LINES }, { signal });
      drawLog(parts.log, lines.length ? lines : state.told);
      parts.sources.textContent = `from ${sources.length ? sources.join(", ") : "its audit trail"}`;
    } catch (error) {
      if (!signal.aborted) parts.log.replaceChildren(el("p", { class: "muted" }, error.message));
    }
  }, 400);

  stream({ run: name }, {
    line(line) {
      heard = true;
      if (line.kind === "markets") {
        // It is over several markets, and they have a page of their own.
        window.location.replace(`#/market/${encodeURIComponent(name)}/live`);
        return;
      }
      state.take(line);
      if (line.kind === "stage_begun") announce(`Stage ${line.stage}, ${line.name}`);
      if (["stage_begun", "stage_done", "run_done", "interrupted", "failed"].includes(line.kind)) readLog();
      changed();
    },
    run(change) {
      if (change.name !== name || state.state === change.state) return;
      // A run that was killed writes no last line; the list knows.
      if (["running", "done", "interrupted", "failed", "stopped"].includes(change.state)) state.state = change.state;
      state.version += 1;
      changed();
    },
    job(told) {
      actions.take(told);
      if (told.runs.includes(name)) takeJob(told);
    },
    reset() {
      state.clear();
      changed();
    },
    connected: (yes) => sayConnection(parts.connection, yes),
  }, { signal });

  every(() => drawClock(parts, state), TICK_MS, signal);
  keys({ s: () => actions.stop() });
  readLog();

  // A stream of a name that is not there never says so: ask once.
  try {
    const known = (await get("/runs", {}, { signal })).runs.find((run) => run.name === name);
    if (!known && !heard) await missing(name, signal, () => heard);
    if (known && state.state === "waiting") state.state = known.state;
    else if (known && state.state === "running" && known.state !== "running") state.state = known.state;
    state.version += 1;
    changed();
    const { jobs } = await get("/jobs", {}, { signal });
    const job = jobs.find(({ runs }) => runs.includes(name));
    if (job && state.state === "running") takeJob(job);
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
}

// A run that was just started has no files yet; it is given some seconds.
async function missing(name, signal, heard) {
  for (let waited = 0; waited < 20 && !heard() && !signal.aborted; waited += 1) {
    await new Promise((done) => { setTimeout(done, 500); });
  }
  if (heard() || signal.aborted) return;
  throw new ApiError({ kind: "NotFound", message: `There is no run ${name}.`, status: 404,
    hint: "It may have ended before its first stage: `barwise run` in a terminal tells why. Or choose one of Runs." });
}

// -- The pieces -------------------------------------------------------------------------------------------------------

function frame(name, actions, trouble) {
  const badge = el("span", { class: "live-state" });
  const connection = el("p", { class: "connection loss", role: "status" });
  const numbers = el("div");
  const whole = el("div");
  const now = el("p", { class: "now" });
  const stages = el("ol", { class: "stages" });
  const steps = el("div", { class: "steps" });
  const verdict = el("div");
  const history = el("div");
  const windows = el("div");
  const log = el("div", { class: "log", role: "region", "aria-label": "Last lines of the log", tabindex: 0 });
  const sources = el("p", { class: "muted note code" });
  const historyCard = card("Optimization history", [el("p", { class: "muted note" }), history]);
  const windowsCard = card("Walk-forward windows", [el("p", { class: "muted note" }), windows]);
  windowsCard.hidden = true;
  return {
    badge, connection, numbers, whole, now, stages, steps, verdict, history, windows, log, sources,
    historyCard, windowsCard,
    nodes: [
      heading(name, badge, actions), connection, trouble, verdict, numbers,
      el("div", { class: "side reversed" },
        el("div", { class: "stack" }, card("Stages", [whole, now, stages, steps])),
        el("div", { class: "stack" }, historyCard, windowsCard, card("Log", [sources, log]))),
    ],
  };
}

function drawHead({ badge, numbers, whole }, state) {
  badge.replaceChildren(stateBadge(state.state));
  const { best, candles, step } = state;
  const bars = candles ? `${count(candles.bars)} bars of ${candles.symbol} ${candles.timeframe}` : state.market;
  const found = best ? [best.at !== null && `trial ${count(best.at)}`, `stage ${best.stage}`].filter(Boolean).join(", ")
    : "no trial yet";
  numbers.replaceChildren(figures([
    { label: "Elapsed", value: el("span", { class: "elapsed" }, elapsed(state)), beside: bars },
    { label: "Time left", value: el("span", { class: "eta" }, left(state)),
      beside: step ? `${step.name} ${count(step.done)} of ${count(step.total)}` : "" },
    { label: `Best ${words(state.objective || "value")} so far`, tone: best?.value, beside: found,
      value: best ? number(best.value, 3, { signed: true }) : "n/a" },
    { label: "Trials", value: count(state.counts.trial),
      beside: state.counts.trial ? `${count(state.counts.pruned)} pruned` : "" },
    { label: "Windows", value: windowCount(state), beside: state.windows.length
      ? `${count(state.windows.filter(({ scored }) => scored).length)} scored` : "" },
  ]));
  const share = state.share;
  whole.replaceChildren(progress(share, "The whole run"));
}

function windowCount(state) {
  if (state.windows.length) return count(state.windows.length);
  const { step } = state;
  return step?.name === "walk-forward" ? `${count(step.done)} of ${count(step.total)}` : "n/a";
}

function elapsed(state) {
  if (state.begunMs === null) return "n/a";
  return duration(Math.max((state.endedMs ?? Date.now()) - (state.resumedMs ?? state.begunMs), 0));
}

function left(state) {
  if (state.settled) return "0 s";
  const now = Date.now();
  const whole = state.remaining(now);
  const ms = whole ? whole.ms : state.eta(now);
  if (ms === null) return "n/a";
  const text = ms < 10_000 ? `${Math.ceil(ms / 1000)} s` : duration(ms);
  return whole ? `${whole.atLeast ? "at least" : "about"} ${text}` : `${text} of this step`;
}

// What changes without a line: the time.
function drawClock({ numbers, stages }, state) {
  if (state.state !== "running") return;
  const clock = numbers.querySelector(".elapsed");
  const eta = numbers.querySelector(".eta");
  if (clock) clock.textContent = elapsed(state);
  if (eta) eta.textContent = left(state);
  const running = stages.querySelector(".running-time");
  if (running && state.current) running.textContent = duration(Math.max(Date.now() - state.current.begunMs, 0));
}

function drawStages({ stages, now }, state) {
  const all = [...state.stages.values()];
  const { current, step } = state;
  now.textContent = current ? `Stage ${current.number}, ${current.name}${step ? `: ${step.name}` : ""}`
    : state.reason || (state.state === "waiting" ? "Waiting for the first stage." : "");
  stages.replaceChildren(...all.map((stage) => el("li", {
    class: stage.state, "aria-current": stage.state === "running" ? "step" : null,
  },
    el("span", { class: "number" }, stage.number),
    el("span", { class: "what" }, el("b", null, stage.name), stage.text && el("span", { class: "muted" }, stage.text)),
    el("span", { class: `time ${stage.state === "running" ? "running-time" : ""}` },
      typeof stage.seconds === "number" ? duration(stage.seconds * 1000)
        : stage.state === "running" ? duration(Math.max(Date.now() - stage.begunMs, 0)) : ""),
    stateBadge(stage.state))));
}

// What is being counted. Only what is so now: the stream tells a page that comes later no ticks that are out of date.
function drawSteps({ steps }, { step }) {
  if (!step) {
    steps.replaceChildren();
    return;
  }
  const { name, done, total } = step;
  steps.replaceChildren(el("div", { class: "step" }, el("span", null, name),
    progress(total ? done / total : null, name),
    el("span", { class: "muted" }, `${count(done)} / ${count(total)}`)));
}

function drawVerdict({ verdict }, { verdict: told }, name) {
  if (!told || verdict.firstChild) {
    if (!told) verdict.replaceChildren();
    return;
  }
  const kind = told.word.toLowerCase().replaceAll(" ", "-");
  verdict.replaceChildren(el("section", { class: `card verdict ${kind}`, "aria-label": "Verdict" },
    el("h2", null, verdictBadge(told.word)),
    el("ul", null, told.reasons.map((reason) => el("li", null, reason))),
    told.would_change.length > 0 && el("p", { class: "muted" }, `What would change it: ${told.would_change.join(" ")}`),
    el("p", null, el("a", { href: `#/run/${encodeURIComponent(name)}/validation` }, "Every test behind it"))));
}

// The middle of what was tried; a hopeless trial does not flatten the rest.
function frameOf(values, best) {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[Math.floor(sorted.length * LOWEST_SHARE)];
  const high = Math.max(sorted.at(-1), ...best);
  const room = (high - low) * 0.06 || 1;
  return [low - room, high + room];
}

function drawHistory({ history, historyCard }, state, signal) {
  const { x, y, pruned, marks } = state.history;
  const ticks = state.tick ? [state.tick] : [];
  const bestX = [...state.history.bestX, ...ticks.map((tick) => tick.x)];
  const bestY = [...state.history.bestY, ...ticks.map((tick) => tick.y)];
  const note = historyCard.querySelector(".note");
  if (!x.length && !bestX.length) {
    note.textContent = state.settled ? "This run has no search." : "Trials show here once the search begins.";
    return;
  }
  note.textContent = state.best
    ? `The best of ${count(state.tick ? state.tick.x : state.counts.trial)} trials has ${short(state.best.value)}.`
      + `${state.keepEvery > 1 ? ` One trial in ${count(state.keepEvery)} is drawn.` : ""}` : "";
  const at = (wanted) => x.map((_, i) => i).filter((i) => pruned[i] === wanted);
  const dots = (wanted, label, marker) => ({ type: "scatter", mode: "markers", name: label, marker,
    x: at(wanted).map((i) => x[i]), y: at(wanted).map((i) => y[i]),
    hovertemplate: "trial %{x:,}: %{y:.3f}<extra></extra>" });
  const last = Math.max(x.at(-1) ?? 0, bestX.at(-1) ?? 0);
  charts.draw(history, [
    dots(true, "pruned, on a part of the bars", { color: "@muted", size: 3, opacity: 0.4, symbol: "x-thin-open" }),
    dots(false, "complete", { color: "@tier-1", size: 4, opacity: 0.65 }),
    { type: "scatter", mode: bestX.length < 4 ? "lines+markers" : "lines", name: "best so far",
      marker: { color: "@gain", size: 6 }, line: { color: "@gain", width: 2, shape: "hv" },
      x: [...bestX, last], y: [...bestY, bestY.at(-1)], hovertemplate: "best %{y:.3f}<extra></extra>" },
  ], {
    xaxis: { title: { text: "trial" }, rangemode: "tozero" },
    yaxis: { title: { text: words(state.objective || "value") }, range: frameOf(y.length ? y : bestY, bestY) },
    shapes: marks.filter((mark) => mark.x).map((mark) => ({
      type: "line", x0: mark.x, x1: mark.x, yref: "paper", y0: 0, y1: 1,
      line: { color: "@rule", width: 1 } })),
    annotations: marks.map((mark) => ({ x: mark.x, y: 0.99, yref: "paper", xanchor: "left", yanchor: "top",
      showarrow: false, text: mark.text, font: { color: "@muted", size: 11 } })),
    uirevision: undefined,
  }, { height: 300, label: "Value of each trial and the best so far", signal, keepsZoom: false });
}

function drawWindows({ windows, windowsCard }, state, signal) {
  const step = state.step?.name === "walk-forward" ? state.step : null;
  windowsCard.hidden = !step && !state.windows.length;
  if (windowsCard.hidden) return;
  const all = [...state.windows].sort((a, b) => a.number - b.number);
  const note = windowsCard.querySelector(".note");
  if (!all.length) {
    note.textContent = `${count(step.done)} of ${count(step.total)} windows are searched.`;
    windows.replaceChildren(el("div", { class: "blocks", "aria-hidden": "true" },
      Array.from({ length: step.total }, (_, i) => el("i", { class: i < step.done ? "done" : null }))));
    return;
  }
  windows.querySelector(".blocks")?.remove();
  const value = words(state.objective || "sharpe_ratio");
  note.textContent = `${value} of each window: what the search found in it, and what came after.`
    + " Pale windows have too few trades to be scored.";
  const bars = (key, label, color) => ({ type: "bar", name: label, x: all.map(({ number: at }) => at),
    y: all.map((one) => one[key]), marker: { color, opacity: all.map(({ scored }) => (scored ? 1 : 0.4)) },
    hovertemplate: `window %{x}, ${label}: %{y:.2f}<extra></extra>` });
  charts.draw(windows, [bars("inside", "in-sample", "@inside"), bars("outside", "out-of-sample", "@outside")], {
    barmode: "group", bargap: 0.25,
    xaxis: { title: { text: "window" }, dtick: all.length > 20 ? undefined : 1 },
    yaxis: { title: { text: value } },
  }, { height: 260, label: "In-sample and out-of-sample value of each window", signal });
}

function drawLog(node, lines) {
  const atEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 30;
  if (!lines.length) {
    node.replaceChildren(el("p", { class: "muted" }, "The log has no lines of this run."));
    return;
  }
  const rows = lines.map(({ time, level, message }) => el("tr", { class: String(level).toLowerCase() },
    el("td", { class: "text muted" }, when(time, { seconds: true }).slice(11)),
    el("td", { class: "text level" }, level),
    el("td", { class: "text wrap" }, message)));
  node.replaceChildren(el("table", null, el("caption", { class: "unseen" }, "Log"), el("tbody", null, rows)));
  if (atEnd) node.scrollTop = node.scrollHeight;
}
