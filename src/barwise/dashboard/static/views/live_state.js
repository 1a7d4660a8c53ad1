// What the lines of a trail add up to. Every line is taken in once and in order, and none of them is kept: a page that
// is opened late, or a second one, gets the same lines and comes to the same state.

// What lies before a run that has only begun; stages a run does not have are dropped when it ends.
const AHEAD = [["5", "look-ahead"], ["5", "baseline"], ["7.1", "integers"], ["7.2", "real values"], ["7.3", "timeouts"],
  ["7", "neighbourhood"], ["8", "verdict"], ["9", "report"]];
const ENDS = { run_done: "done", interrupted: "interrupted", failed: "failed" };
// Metrics of which less is better, as the search has them.
const COSTS = new Set(["max_drawdown", "fees", "slippage", "funding", "volatility", "ambiguous_trades", "losing_trades",
  "turnover_ratio"]);
// The steps of stage 8, in their order.
const STEPS = ["search", "walk-forward", "shuffled markets", "selection", "stress", "jitter", "monte carlo"];
const MOST_POINTS = 2000;
// Which method takes which kind of line; the others are for other views.
const TAKEN = { run_begun: "runBegun", run_resumed: "runResumed", configuration: "configuration", data: "data",
  stage_begun: "stageBegun", stage_done: "stageDone", progress: "progress", trial: "trial", choice: "choice",
  exit: "exit", window: "walked", verdict: "judged" };

const MOST_TOLD = 200;
const SENTENCES = {
  run_begun: (line) => `the run begins: ${line.market || line.run}`,
  run_resumed: (line) => `the run goes on: ${line.market || line.run}`,
  data: (line) => `${line.symbol} ${line.timeframe}: ${line.bars.toLocaleString("en-US")} bars, ${line.gaps} gaps`,
  stage_begun: (line) => `stage ${line.stage} ${line.name} begins`,
  stage_done: (line) => `stage ${line.stage} ${line.name} is ${line.state || "done"}: ${line.text}`,
  permutation: ({ beaten, nulls, p_value: p }) => `${beaten} of ${nulls.length} shuffled markets do as well: p = ${p}`,
  verdict: (line) => `verdict: ${line.word}`,
  run_done: () => "the run is done",
  interrupted: (line) => `the run was interrupted: ${line.reason || "by a signal"}`,
  failed: (line) => `the run failed: ${line.reason || "no reason was told"}`,
};

const keyOf = (stage, name) => `${stage} ${name}`;
const msOf = (line) => Date.parse(line.time);

export class LiveState {
  constructor() {
    this.clear();
  }

  clear() {
    this.stages = new Map(AHEAD.map(([number, name]) => [keyOf(number, name), { number, name, state: "waiting" }]));
    this.state = "waiting";
    this.market = "";
    this.candles = null;
    this.begunMs = null;
    this.endedMs = null;
    this.reason = "";
    this.current = null;
    this.step = null;
    this.objective = null;
    this.best = null;
    this.counts = { trial: 0, pruned: 0, exit: 0, window: 0 };
    this.history = { x: [], y: [], pruned: [], bestX: [], bestY: [], marks: [] };
    this.tick = null;
    this.told = [];
    this.offset = 0;
    this.stageTrials = null;
    this.keepEvery = 1;
    this.windows = [];
    this.verdict = null;
    this.resumedMs = null;
    this.plan = null;
    this.version = (this.version ?? 0) + 1;
  }

  // One line of the trail.
  take(line) {
    this.version += 1;
    const taken = TAKEN[line.kind];
    if (taken) this[taken](line);
    this.#tell(line);
    if (ENDS[line.kind]) this.#ended(line);
  }

  // The log of a run whose process wrote none.
  #tell(line) {
    const text = SENTENCES[line.kind]?.(line);
    if (!text) return;
    this.told.push({ time: msOf(line), level: line.kind === "failed" ? "ERROR" : "INFO", message: text });
    if (this.told.length > MOST_TOLD) this.told.splice(0, this.told.length - MOST_TOLD);
  }

  get settled() {
    return ["done", "interrupted", "failed", "stopped"].includes(this.state);
  }

  // Share of the stages that are behind, with the share of the step at work, or null before the first.
  get share() {
    const all = [...this.stages.values()];
    if (this.state === "done") return 1;
    const past = all.filter(({ state }) => !["waiting", "running"].includes(state)).length;
    const within = this.step && this.step.total && this.current ? this.step.done / this.step.total : 0;
    return all.length ? (past + Math.min(within, 1) * 0.95) / all.length : null;
  }

  // ms until the step at work is done, from how fast it has gone so far; null where nobody can tell yet.
  eta(now) {
    const { step } = this;
    if (this.state !== "running" || !step || !step.total || step.done <= step.firstDone) return null;
    const each = (step.atMs - step.firstMs) / (step.done - step.firstDone);
    return Math.max(each * (step.total - step.done) - (now - step.atMs), 0);
  }

  // ms until the run is done, from the estimates of its plan: {ms, atLeast} or null where there is no plan. Only runs
  // that were started from a page have one here.
  remaining(now) {
    if (!this.plan || this.state !== "running") return null;
    let ms = 0;
    let atLeast = false;
    const at = this.current?.number === "8" ? STEPS.indexOf(this.step?.name) : -1;
    for (const { number, name, seconds } of this.plan) {
      const stage = this.stages.get(keyOf(number, name));
      if (stage && !["waiting", "running"].includes(stage.state)) continue;
      // Parts of stage 8 have lines of their own in the plan, and are steps of one stage in the trail.
      const place = STEPS.findIndex((step) => step.startsWith(name));
      if (number === "8" && place >= 0 && place < at) continue;
      if (number === "8" && place >= 0 && place === at) ms += this.eta(now) ?? (seconds ?? 0) * 1000;
      else if (stage?.state === "running") {
        const step = this.eta(now);
        const planned = typeof seconds === "number" ? Math.max(seconds * 1000 - (now - stage.begunMs), 0) : null;
        if (step === null && planned === null) atLeast = true;
        ms += Math.max(step ?? 0, planned ?? 0);
      } else if (typeof seconds === "number") ms += seconds * 1000;
      else atLeast = true;
    }
    return { ms, atLeast };
  }

  runBegun(line) {
    this.state = "running";
    this.begunMs = msOf(line);
    this.market = line.market || "";
  }

  // The same run goes on, or is gone through once more: what was done comes again, marked as kept.
  runResumed(line) {
    this.state = "running";
    this.begunMs ??= msOf(line);
    this.resumedMs = msOf(line);
    this.market = line.market || this.market;
    this.endedMs = null;
    this.reason = "";
    this.step = null;
    for (const [number, name] of AHEAD) {
      const key = keyOf(number, name);
      if (!this.stages.has(key)) this.stages.set(key, { number, name, state: "waiting" });
    }
  }

  configuration(line) {
    const objective = line.sections.optimization?.objective;
    if (typeof objective === "string") this.objective ??= objective;
  }

  data(line) {
    if (line.of === "candles") this.candles = line;
  }

  stageBegun(line) {
    const stage = { number: line.stage, name: line.name, state: "running", begunMs: msOf(line) };
    this.#putStage(stage);
    this.current = stage;
    this.step = null;
  }

  stageDone(line) {
    this.#putStage({ number: line.stage, name: line.name, state: line.state || "done", text: line.text,
      seconds: line.seconds ?? null });
    this.current = null;
    this.step = null;
  }

  #putStage(stage) {
    const key = keyOf(stage.number, stage.name);
    const known = [...this.stages.keys()];
    // A stage that was passed over does not wait any more.
    for (const before of known.slice(0, Math.max(known.indexOf(key), 0))) {
      if (this.stages.get(before).state === "waiting") this.stages.delete(before);
    }
    this.stages.set(key, stage);
  }

  progress(line) {
    const atMs = msOf(line);
    const same = this.step && this.step.name === line.step && line.done >= this.step.done;
    // A search begins with its stage. The steps of stage 8 follow each other: only what was counted tells how fast
    // this one is.
    const isSearch = Boolean(this.current?.number.startsWith("7."));
    const from = isSearch ? { firstMs: this.current.begunMs, firstDone: 0 } : { firstMs: atMs, firstDone: line.done };
    const { firstMs, firstDone } = same ? this.step : from;
    this.step = { name: line.step, done: line.done, total: line.total, atMs, firstMs, firstDone };
    if (typeof line.best !== "number" || !isSearch) return;
    // The trials of a stage are told when it ends. Until then only this says how good the best of them is; no more than
    // the last of it is kept, because a page that is opened later gets no more.
    this.tick = { x: this.offset + line.done, y: line.best };
    if (this.#isBetter(line.best)) this.best = { value: line.best, at: null, stage: this.current.number };
  }

  trial(line) {
    if (line.part !== "optimization") return;
    if (this.stageTrials !== line.stage) {
      this.offset = this.counts.trial;
      this.stageTrials = line.stage;
      this.history.marks.push({ x: this.offset, text: line.stage });
      // Now every trial is told, and with them where each best value was found.
      this.tick = null;
      const { bestX, bestY } = this.history;
      this.best = bestX.length ? { value: bestY.at(-1), at: bestX.at(-1), stage: this.bestStage } : null;
    }
    this.counts.trial += 1;
    if (line.state === "pruned") this.counts.pruned += 1;
    this.objective ??= Object.keys(line.objectives)[0];
    const value = line.objectives[this.objective] ?? Object.values(line.objectives)[0];
    if (typeof value !== "number") return;
    const at = this.counts.trial - 1;
    this.#point(at, value, line.state !== "complete");
    if (line.state === "complete") this.#better(value, at, line.stage);
  }

  // Of very many trials only every n-th is drawn, so that memory and drawing stay as they are.
  #point(at, value, isPruned) {
    const { x, y, pruned } = this.history;
    if (at % this.keepEvery) return;
    x.push(at);
    y.push(value);
    pruned.push(isPruned);
    if (x.length < MOST_POINTS) return;
    this.keepEvery *= 2;
    for (const list of [x, y, pruned]) list.splice(0, list.length, ...list.filter((_, i) => i % 2 === 0));
  }

  #isBetter(value) {
    const sign = COSTS.has(this.objective) ? -1 : 1;
    return !this.best || sign * value > sign * this.best.value;
  }

  #better(value, at, stage) {
    if (!this.#isBetter(value)) return;
    this.best = { value, at, stage };
    this.bestStage = stage;
    this.history.bestX.push(at);
    this.history.bestY.push(value);
  }

  choice(line) {
    if (line.part !== "optimization") return;
    this.offset = this.counts.trial;
  }

  exit(line) {
    if (line.part === "baseline") this.counts.exit += 1;
  }

  walked(line) {
    const objective = this.objective || "sharpe_ratio";
    const entry = { number: line.number, scored: line.scored, inside: line.in_sample?.[objective] ?? null,
      outside: line.out_of_sample?.[objective] ?? null, why: line.why_not_scored };
    const at = this.windows.findIndex(({ number }) => number === line.number);
    if (at >= 0) this.windows[at] = entry;
    else this.windows.push(entry);
    this.counts.window = this.windows.length;
  }

  judged(line) {
    this.verdict = line;
  }

  #ended(line) {
    this.state = ENDS[line.kind];
    this.endedMs = msOf(line);
    this.reason = line.reason || "";
    this.current = null;
    this.step = null;
    for (const [key, stage] of this.stages) {
      if (stage.state === "running") stage.state = this.state;
      if (stage.state === "waiting" && this.state === "done") this.stages.delete(key);
    }
  }
}
