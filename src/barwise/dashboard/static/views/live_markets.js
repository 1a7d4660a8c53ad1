// A run over several markets while it happens: where each of them is, how far all of them are, and what was found so far.

import { ApiError, get, stream } from "../api.js";
import {
  card, count, duration, el, empty, every, failure, figures, heading, number, paced, progress, stateBadge, stylesheet, verdictBadge,
  words,
} from "../ui.js";
import { Actions, sayConnection } from "./live_actions.js";
import { MarketsState } from "./live_markets_state.js";

const TICK_MS = 1000;
const DRAW_MS = 200;
const COLUMNS = ["Market", "State", "Stage", "Progress", "Time left", "Best so far", "Verdict"];

export async function show(root, { name }, context) {
  const { signal, navigate, title, announce, keys } = context;
  title(`Live ${name}`);
  await stylesheet("views/live.css");
  const state = new MarketsState(await get("/stages", {}, { signal }));
  const overview = `#/market/${encodeURIComponent(name)}`;
  const trouble = el("div");
  const result = { href: overview, text: "See all markets together" };
  const actions = new Actions({ name, result, trouble }, context);
  const parts = frame(name, actions.node, trouble, navigate);
  root.replaceChildren(...parts.nodes);
  let heard = false;

  // -- Drawing, at most every DRAW_MS --

  let drawn = -1;
  let said = new Map();
  function draw() {
    if (signal.aborted || drawn === state.version) return;
    drawn = state.version;
    const rows = state.rows;
    parts.badge.replaceChildren(stateBadge(state.state));
    actions.draw(state.state);
    drawHead(parts, state, rows);
    drawRows(parts, state, rows);
    parts.reason.textContent = whyText(state.reason);
    tell(rows);
  }

  // What has changed, in words, for those who do not look.
  function tell(rows) {
    const now = new Map([[name, state.state], ...rows.map((row) => [row.run, row.state])]);
    const sentences = rows.filter((row) => said.has(row.run) && said.get(row.run) !== row.state)
      .map(({ label, state: word, course }) => `${label} is ${word}${word === "done" && course.verdict
        ? `: ${course.verdict.word}` : ""}.`);
    if (said.has(name) && said.get(name) !== state.state && state.settled) sentences.push(`The run is ${state.state}.`);
    if (sentences.length) announce(sentences.join(" "));
    said = now;
  }

  const changed = paced(draw, DRAW_MS, signal);

  stream({ run: name }, {
    line(line) {
      heard = true;
      state.take(line);
      changed();
    },
    market(told) {
      state.takeMarket(told);
      changed();
    },
    run(change) {
      state.takeState(change, name);
      changed();
    },
    job(job) {
      actions.take(job);
      if (job.runs.includes(name) && job.state === "failed" && job.error) trouble.replaceChildren(failure(job.error));
    },
    reset() {
      state.clear();
      changed();
    },
    connected: (yes) => sayConnection(parts.connection, yes),
  }, { signal });

  every(() => drawClock(parts, state), TICK_MS, signal);
  keys({ s: () => actions.stop() });

  const known = (await get("/runs", {}, { signal })).runs.find((run) => run.name === name);
  if (heard || signal.aborted) return;
  if (!known) {
    throw new ApiError({ kind: "NotFound", message: `There is no run ${name}.`, status: 404,
      hint: "Choose one in the list of runs, or begin one with several markets." });
  }
  if (known.kind === "multi" && known.state === "done") await untold(root, overview, () => heard, signal);
}

// A run of before there were trails over several markets has only its result.
async function untold(root, overview, heard, signal) {
  await new Promise((done) => { setTimeout(done, 5 * TICK_MS); });
  if (heard() || signal.aborted) return;
  root.replaceChildren(heading("Live"), empty("This run has left no trail of its course",
    "What it found is there: ", el("a", { href: overview }, "all markets together"), "."));
}

// -- The pieces -------------------------------------------------------------------------------------------------------

function frame(name, actions, trouble, navigate) {
  const badge = el("span", { class: "live-state" });
  const connection = el("p", { class: "connection loss", role: "status" });
  const reason = el("p", { class: "now" });
  const numbers = el("div");
  const whole = el("div");
  const body = el("tbody");
  const table = el("div", { class: "scroll cards", role: "region", "aria-label": "Markets", tabindex: 0 },
    el("table", { class: "live-markets" }, el("caption", { class: "unseen" }, "Markets of this run, in their order"),
      el("thead", null, el("tr", null, COLUMNS.map((label, i) => el("th", { scope: "col",
        class: i < 4 || i === 6 ? "text" : null }, label)))), body));
  return {
    badge, connection, reason, numbers, whole, body, navigate, shown: new Map(),
    nodes: [heading(name, badge, actions), connection, reason, trouble, numbers,
      card("Markets", [whole, table], { class: "markets-live" })],
  };
}

function drawHead({ numbers, whole }, state, rows) {
  const done = rows.filter(({ state: word }) => word === "done");
  const running = rows.filter(({ state: word }) => word === "running");
  numbers.replaceChildren(figures([
    { label: "Elapsed", value: el("span", { class: "elapsed" }, elapsed(state)) },
    { label: "Time left", value: el("span", { class: "eta" }, left(state.settled, state.remaining(Date.now()))),
      beside: "for all markets" },
    { label: "Markets", value: `${count(done.length)} of ${count(rows.length)}`,
      beside: running.length ? `${running.map(({ label }) => label).join(", ")} at work` : "done" },
    { label: "Verdicts", value: verdicts(done), beside: "of those that are done" },
  ]));
  whole.replaceChildren(progress(state.share, "All markets"));
}

function verdicts(done) {
  const counts = new Map();
  for (const { course } of done) {
    const word = course.verdict?.word ?? "no verdict";
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts.size ? [...counts].map(([word, many]) => `${count(many)} ${word}`).join(", ") : "none yet";
}

function elapsed({ startedMs, endedMs }) {
  return startedMs === null ? "n/a" : duration(Math.max((endedMs ?? Date.now()) - startedMs, 0));
}

function left(isSettled, remaining) {
  if (isSettled) return "0 s";
  if (!remaining) return "n/a";
  const { ms, atLeast } = remaining;
  return `${atLeast ? "at least" : "about"} ${ms < 10_000 ? `${Math.ceil(ms / 1000)} s` : duration(ms)}`;
}

// What changes without a line: the time.
function drawClock({ numbers, shown }, state) {
  if (state.state !== "running") return;
  const now = Date.now();
  const put = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
  put(numbers.querySelector(".elapsed"), elapsed(state));
  put(numbers.querySelector(".eta"), left(false, state.remaining(now)));
  for (const row of state.rows) put(shown.get(row.run)?.cells.left.firstChild, timeLeft(state, row, now));
}

// The rows stay the same nodes, so that a link keeps the focus while its row is drawn.
function drawRows({ body, shown, navigate }, state, rows) {
  const now = Date.now();
  for (const row of rows) {
    if (!shown.has(row.run)) {
      const made = rowOf(row, navigate);
      shown.set(row.run, made);
      body.append(made.node);
    }
    fill(shown.get(row.run), row, state, now);
  }
  for (const [run, { node }] of shown) {
    if (rows.some((row) => row.run === run)) continue;
    node.remove();
    shown.delete(run);
  }
}

function rowOf({ run, label, synthetic }, navigate) {
  const cell = (name, isText = true) => el("td", { class: isText ? "text" : null, "data-label": name });
  const cells = { state: cell("State"), stage: cell("Stage"), progress: cell("Progress"), left: cell("Time left", false),
    best: cell("Best so far", false), verdict: cell("Verdict") };
  const head = el("th", { scope: "row", class: "text" });
  const place = `#/run/${encodeURIComponent(run)}/live`;
  const names = { link: el("a", { href: place }, label), plain: el("span", null, label) };
  head.append(names.plain, ...(synthetic ? [" ", el("span", { class: "synthetic" }, "SYNTHETIC")] : []));
  const node = el("tr", null, head, Object.values(cells));
  node.addEventListener("click", (event) => {
    if (node.classList.contains("opens") && !event.target.closest("a")) navigate(place);
  });
  return { node, head, cells, names, words: new Map() };
}

// Only what is another than before is put in.
function fill(shown, row, state, now) {
  const { node, head, cells, names, words: drawn } = shown;
  const { course } = row;
  const isOpen = row.state !== "waiting";
  const put = (name, key, make) => {
    if (drawn.get(name) === key) return;
    drawn.set(name, key);
    cells[name].replaceChildren(...[make()].flat());
  };
  // A market that has not begun has no page yet.
  if (row.begun && head.firstChild !== names.link) {
    names.plain.replaceWith(names.link);
    node.classList.add("opens");
  }
  node.classList.toggle("at-work", row.state === "running");
  put("state", row.state, () => stateBadge(row.state));
  const stage = stageText(row, state.settled);
  put("stage", stage, () => stage);
  const share = Math.round(state.shareOf(row) * 1000) / 1000;
  put("progress", share, () => progress(share, `Progress of ${row.label}`));
  const leftText = timeLeft(state, row, now);
  put("left", leftText, () => el("span", null, leftText));
  const best = isOpen ? course.best : null;
  put("best", best ? `${best.value} ${course.objective}` : "", () => (best ? [el("b", null, number(best.value, 3, { signed: true })),
    " ", el("span", { class: "muted" }, words(course.objective || ""))] : el("span", { class: "muted" }, "n/a")));
  const verdict = row.state === "done" ? course.verdict?.word ?? null : "";
  put("verdict", verdict, () => (verdict === "" ? el("span", { class: "muted" }, "n/a") : verdictBadge(verdict)));
}

function stageText({ course, state }, isOver) {
  if (state === "waiting" && isOver) return "not begun";
  if (state === "waiting") return course.begunMs === null ? "waits for its turn" : "waits for its turn; was run before";
  if (state === "done") return "all stages";
  const { current, step } = course;
  if (!current) return whyText(course.reason) || "between stages";
  const at = step ? `: ${step.name} ${count(step.done)} of ${count(step.total)}` : "";
  return `${current.number} ${current.name}${at}`;
}

// Why a run has ended; Ctrl-C and the button are the same to it.
function whyText(reason) {
  return reason.startsWith("KeyboardInterrupt") ? "It was stopped." : reason;
}

function timeLeft(state, row, now) {
  if (state.settled || !["running", "waiting"].includes(row.state)) return "";
  return left(false, state.remainingOf(row, now));
}
