// What can be done about a run that is watched: stop it, let it go on, or see what it found.

import { post, runPath } from "../api.js";
import { button, el, failure } from "../ui.js";

// One run's buttons. options = {name, result: {href, text}: where its result is, trouble: node for what went wrong,
// resumed(job): told of the job that goes on}, context = that of the view.
// It has node, draw(state) and stop().
export class Actions {
  constructor({ name, result, trouble, resumed = () => {} }, { signal, announce }) {
    this.name = name;
    this.result = result;
    this.trouble = trouble;
    this.resumed = resumed;
    this.signal = signal;
    this.announce = announce;
    this.node = el("span", { class: "row push" });
    this.state = "";
    this.job = null;
  }

  // What goes on may be called otherwise: its name is made of the program too, and that may have changed; and a market
  // that was one of several goes on with all of them.
  take({ job, name, runs }) {
    if (job !== this.job || !name || runs.includes(this.name)) return;
    this.trouble.replaceChildren(el("p", null, "It goes on as ",
      el("a", { href: `#/run/${encodeURIComponent(name)}/live` }, name), "."));
  }

  draw(state) {
    if (this.state === state) return;
    this.state = state;
    const resume = () => button("Resume", () => this.#act("resume", "The run goes on."), { class: "first" });
    const buttons = {
      running: () => button("Stop", () => this.stop(), { class: "stop", title: "What is done is kept; it can be resumed" }),
      interrupted: resume,
      stopped: resume,
      failed: resume,
      done: () => el("a", { class: "button first", href: this.result.href }, this.result.text),
    };
    const again = () => el("a", { class: "button", href: `#/new?from=${encodeURIComponent(this.name)}`,
      title: "A new run that begins with these settings" }, "Another like it");
    this.node.replaceChildren(...(buttons[state] ? [...(state === "running" ? [] : [again()]), buttons[state]()] : []));
  }

  stop() {
    if (this.state === "running") this.#act("stop", "The run is asked to stop.");
  }

  async #act(what, said) {
    const asked = this.state;
    this.trouble.replaceChildren();
    this.node.querySelectorAll("button").forEach((one) => { one.disabled = true; });
    try {
      const job = await post(runPath(this.name, what), {}, { signal: this.signal });
      this.announce(said);
      if (what !== "resume") return;
      this.job = job.job;
      this.resumed(job);
    } catch (error) {
      if (this.signal.aborted) return;
      this.trouble.replaceChildren(failure(error));
      this.node.querySelectorAll("button").forEach((one) => { one.disabled = this.state !== asked; });
    }
  }
}

// Whether what is seen is still told as it happens.
export function sayConnection(node, isThere) {
  node.textContent = isThere ? "" : "The connection is lost; it will go on where it was.";
}
