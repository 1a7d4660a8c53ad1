// What the lines of a trail add up to. Every line is taken in once and in order, and none of them is kept: a page that
// is opened late, or a second one, gets the same lines and comes to the same state.

const ENDS = { run_done: "done", interrupted: "interrupted", failed: "failed" };
// Metrics of which less is better, as the search has them.
const COSTS = new Set(["max_drawdown", "fees", "slippage", "funding", "volatility", "ambiguous_trades", "losing_trades",
  "turnover_ratio"]);
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
  // `outline` is what the API says of stages: {stages: [{number, name}], steps: [{name, planned}]}. All of them lie
  // before a run that has only begun; those that it does not have are dropped when it ends.
  constructor(outline) {
    this.outline = outline;
    this.clear();
  }

  clear() {
    this.stages = new Map(this.#ahead());
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

  #ahead() {
    return this.outline.stages.map(({ number, name }) => [keyOf(number, name), { number, name, state: "waiting" }]);
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

  // Share of what is behind, by the seconds that were planned for it; without a plan by the number of stages. Null before
  // the first of them.
  get share() {
    if (this.state === "done") return 1;
    const lines = (this.plan ? this.#ownPlan : []).filter(({ seconds }) => seconds > 0);
    if (lines.length) {
      const sum = (of) => lines.reduce((whole, line) => whole + line.seconds * of(line), 0);
      return sum((line) => this.#shareOf(line)) / sum(() => 1);
    }
    const all = [...this.stages.values()];
    const past = all.filter(({ state }) => !["waiting", "running"].includes(state)).length;
    return all.length ? (past + this.#within * 0.95) / all.length : null;
  }

  // Share of the step at work.
  get #within() {
    const { step, current } = this;
    return step?.total && current ? Math.min(step.done / step.total, 1) : 0;
  }

  // Share of a line of the plan that is behind; lines of stage 8 are steps of one stage in the trail.
  #shareOf({ number, name }) {
    const { steps, stages } = this.outline;
    const stage = this.stages.get(number === "8" ? keyOf("8", stages.find((one) => one.number === "8").name)
      : keyOf(number, name));
    if (["waiting", "interrupted", "failed"].includes(stage?.state)) return 0;
    if (stage?.state !== "running") return 1;
    if (number !== "8") return this.#within;
    const at = this.#stepNumber;
    const own = steps.map(({ planned }, i) => [planned, i]).filter(([planned]) => planned === name);
    const behind = own.filter(([, i]) => i < at).length + (steps[at]?.planned === name ? this.#within : 0);
    return own.length ? behind / own.length : 0;
  }

  // Which step of stage 8 is at work; -1 = none.
  get #stepNumber() {
    return this.current?.number === "8" ? this.outline.steps.findIndex(({ name }) => name === this.step?.name) : -1;
  }

  // ms until the step at work is done, from how fast it has gone so far; null where nobody can tell yet.
  eta(now) {
    const { step } = this;
    if (this.state !== "running" || !step || !step.total || step.done <= step.firstDone) return null;
    const each = (step.atMs - step.firstMs) / (step.done - step.firstDone);
    return Math.max(each * (step.total - step.done) - (now - step.atMs), 0);
  }

  // When it was begun, or gone on with, for the last time; null before the first.
  get startedMs() {
    return this.resumedMs ?? this.begunMs;
  }

  // What the plan has for this market: that of a run over several has lines for the others too.
  get #ownPlan() {
    const { exchange, symbol, timeframe } = this.candles || {};
    const own = [exchange, symbol, timeframe].filter(Boolean).join(" ");
    return this.plan.filter(({ market }) => !market || market.startsWith(own));
  }

  // ms until the run is done, from the estimates of its plan: {ms, atLeast} or null where there is no plan: a run of one
  // market has one here where it was started from a page.
  remaining(now) {
    if (!this.plan || this.state !== "running") return null;
    let ms = 0;
    let atLeast = false;
    for (const line of this.#ownPlan) {
      const { number, name, seconds } = line;
      const behind = this.#shareOf(line);
      if (behind >= 1) continue;
      const isAtWork = number === "8" ? this.outline.steps[this.#stepNumber]?.planned === name
        : this.stages.get(keyOf(number, name))?.state === "running";
      // How fast it really goes is known of what is being counted, and of that only.
      const counted = isAtWork ? this.eta(now) : null;
      const isWhole = number !== "8" || this.outline.steps.filter(({ planned }) => planned === name).length === 1;
      if (counted !== null && isWhole) ms += counted;
      else if (typeof seconds === "number") {
        const since = isAtWork && number !== "8" ? now - this.current.begunMs : 0;
        ms += Math.max(seconds * 1000 * (1 - behind) - since, counted ?? 0);
      } else atLeast = true;
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
    for (const [key, stage] of this.#ahead()) {
      if (!this.stages.has(key)) this.stages.set(key, stage);
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
    // Whoever is told of every trial knows where the best is; who watches many markets is told what was chosen.
    const value = line.objectives[this.objective] ?? Object.values(line.objectives)[0];
    if (!this.counts.trial && typeof value === "number") this.best = { value, at: line.chosen, stage: line.stage };
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
