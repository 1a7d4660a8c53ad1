// What the trails of a run over several markets add up to: its own, and the course of each market.

import { LiveState } from "./live_state.js";

const ENDS = { run_done: "done", interrupted: "interrupted", failed: "failed" };
const SETTLED = ["done", "interrupted", "failed", "stopped"];

const msOf = (line) => Date.parse(line.time);

export class MarketsState {
  constructor(outline) {
    this.outline = outline;
    this.clear();
  }

  clear() {
    this.told = "waiting";
    this.ownState = null;
    this.markets = [];
    this.courses = new Map();
    this.known = new Map();
    this.planned = false;
    this.startedMs = null;
    this.endedMs = null;
    this.reason = "";
    this.version = (this.version ?? 0) + 1;
  }

  // What its trail says; one that was killed writes no last line, but the list knows.
  get state() {
    return this.told === "running" && SETTLED.includes(this.ownState) ? this.ownState : this.told;
  }

  get settled() {
    return SETTLED.includes(this.state);
  }

  // A line of the trail over all markets.
  take(line) {
    this.version += 1;
    if (line.kind === "run_begun" || line.kind === "run_resumed") {
      this.told = "running";
      this.startedMs = msOf(line);
      this.endedMs = null;
      this.reason = "";
    } else if (line.kind === "markets") {
      this.markets = line.markets;
      for (const { run } of line.markets) this.#course(run);
    } else if (line.kind === "planned") {
      this.planned = true;
      const stages = line.stages.map(({ market, stage, name, seconds }) => ({ run: market, number: stage, name, seconds }));
      for (const [run, course] of this.courses) course.plan = stages.filter((one) => one.run === run);
    } else if (ENDS[line.kind]) {
      this.told = ENDS[line.kind];
      this.endedMs = msOf(line);
      this.reason = line.reason || "";
    }
  }

  // A line of one market. They come from its first line on, once more after a lost connection.
  takeMarket({ run, line }) {
    this.version += 1;
    const course = this.#course(run);
    if (line.seq === 0) {
      const { plan } = course;
      course.clear();
      course.plan = plan;
    }
    course.take(line);
  }

  // How it is with a run, this one or one of its markets, as the list knows it.
  takeState({ name, state }, own) {
    if (name === own) this.ownState = state;
    else if (this.courses.has(name)) this.known.set(name, state);
    else return;
    this.version += 1;
  }

  #course(run) {
    if (!this.courses.has(run)) this.courses.set(run, new LiveState(this.outline));
    return this.courses.get(run);
  }

  // Each market as it stands: {run, label, synthetic, course, state, begun: whether there is anything to look at}.
  get rows() {
    return this.markets.map((market) => {
      const course = this.courses.get(market.run);
      return { ...market, course, begun: course.begunMs !== null, state: this.#stateOf(market.run, course) };
    });
  }

  #stateOf(run, course) {
    // What an earlier run left stays as it is until this one comes to it.
    if (this.state === "running" && course.startedMs !== null && course.startedMs < this.startedMs) return "waiting";
    if (course.state !== "running") return course.state;
    const known = this.known.get(run);
    return known && known !== "gone" ? known : course.state;
  }

  shareOf({ course, state }) {
    return state === "waiting" ? 0 : course.share ?? 0;
  }

  // Share of the whole, by what each market takes as it was planned; equal parts where that says nothing.
  get share() {
    const rows = this.rows;
    if (this.state === "done") return 1;
    if (!rows.length) return null;
    const planned = rows.map(({ course }) => (course.plan || []).reduce((sum, { seconds }) => sum + (seconds ?? 0), 0));
    const weights = planned.every((seconds) => seconds > 0) ? planned : rows.map(() => 1);
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    return rows.reduce((sum, row, i) => sum + this.shareOf(row) * weights[i], 0) / whole;
  }

  // ms until this market is done, {ms, atLeast}; null where nobody can tell.
  remainingOf({ course, state }, now) {
    if (state === "running") {
      const planned = course.remaining(now);
      if (planned) return planned;
      const step = course.eta(now);
      return step === null ? null : { ms: step, atLeast: true };
    }
    if (state !== "waiting" || !this.planned) return null;
    return {
      ms: course.plan.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0) * 1000,
      atLeast: course.plan.some(({ seconds }) => seconds === null),
    };
  }

  // ms until all of them are done.
  remaining(now) {
    if (this.state !== "running" || !this.planned) return null;
    const open = this.rows.filter(({ state }) => ["running", "waiting"].includes(state));
    const all = open.map((row) => this.remainingOf(row, now));
    return {
      ms: all.reduce((sum, one) => sum + (one ? one.ms : 0), 0),
      atLeast: all.some((one) => !one || one.atLeast),
    };
  }
}
