// A new run: what to test, how hard to search, and everything else folded away; checked while it is filled in.

import { get, post, runPath, stream } from "../api.js";
import { card, counted, debounce, el, failure, heading, stylesheet, words } from "../ui.js";
import { Field } from "./form_fields.js";
import { Markets } from "./new_markets.js";
import { StrategyFields } from "./new_strategy.js";

const START = "Start the run";
const PROFILES = { FAST: "a first look", BALANCED: "the usual search", THOROUGH: "a long search" };
// What the front of the form has is not among the folded settings again.
const IN_FRONT = { market: ["exchange", "symbol", "timeframe", "start", "end", "quantity", "markets"],
  optimization: ["profile"] };
// In the order of a run; the parameters of the strategy come before them.
const TITLES = { execution: "Account and costs", optimization: "Search",
  walk_forward: "Walk-forward windows", validation: "Tests behind the verdict", market: "Data, further settings" };
const CHECK_MS = 350;

export async function show(root, params, { signal, navigate, title, announce }) {
  title("New run");
  await stylesheet("views/new.css");
  const form = await get("/form", {}, { signal });
  const { properties: sections, $defs: definitions = {} } = form.schema;
  const fields = new Map();

  function field(section, key, more = {}) {
    const made = new Field({ section, key, property: sections[section].properties[key], definitions,
      fallback: form.values?.[section]?.[key], ...more });
    fields.set(`${section}.${key}`, made);
    return made;
  }

  // -- Front: market, span, strategy, profile --

  const { from, ...first } = params;
  const markets = new Markets({ form, first, onChange: () => checkSoon() });
  const start = field("market", "start", { label: "First day", placeholder: "2025-01-01",
    hint: "open = everything that is stored" });
  const end = field("market", "end", { label: "End", placeholder: "2026-01-01",
    hint: "exclusive: bars open before it" });
  const strategy = new StrategyFields({ form, fields, signal, onChange: () => checkSoon() });
  const profile = field("optimization", "profile", { label: "Search profile",
    choices: Object.entries(PROFILES).map(([value, text]) => [value, `${value}: ${text}`]),
    hint: "trials and width of the search" });

  // -- The rest, folded --

  const known = Object.keys(TITLES).filter((section) => sections[section]);
  const others = Object.keys(sections).filter((section) => !TITLES[section] && section !== "strategy");
  const folds = [strategy.parameters, ...[...known, ...others].map((section) => {
    const { properties } = sections[section];
    const keys = Object.keys(properties).filter((key) => !IN_FRONT[section]?.includes(key));
    return el("details", { class: "fold" },
      el("summary", null, TITLES[section] || words(section)),
      el("div", { class: "fields" }, keys.map((key) => field(section, key, { label: words(key) }).node)));
  })];

  // -- Checking and starting --

  const resolved = el("pre", { class: "resolved", tabindex: 0, "aria-label": "The configuration as a file" }, "");
  const trouble = el("div", { class: "form-trouble", "aria-live": "polite" });
  const starting = el("button", { type: "submit", class: "first" }, START);
  let asked = 0;

  function values() {
    const given = {};
    for (const one of [strategy, ...fields.values()]) {
      // Until its file was read, the fields are those of the strategy before it.
      if (one.section === "strategy" && one !== strategy && !strategy.isReady) continue;
      const value = one.value();
      if (value !== undefined) (given[one.section] ||= {})[one.key] = value;
    }
    const market = { ...given.market, ...markets.values() };
    if (Object.keys(market).length) given.market = market;
    return given;
  }

  // What the program says about the values, shown at the fields; true where nothing is wrong.
  async function check() {
    asked += 1;
    const mine = asked;
    const answer = await post("/form/check", { values: values() }, { signal });
    if (mine !== asked) return false;
    const errors = answer.errors || [];
    const left = [];
    for (const one of [strategy, ...fields.values()]) one.fail(null);
    markets.fail(errors.filter((error) => markets.takes(error)));
    for (const error of errors) {
      const place = `${error.section}.${error.key}` === "strategy.class" ? strategy
        : fields.get(`${error.section}.${error.key}`);
      if (place) place.fail(error);
      else if (!markets.takes(error)) left.push(error);
    }
    trouble.replaceChildren(...left.map((error) => el("p", { class: "trouble" },
      [error.message, error.hint].filter(Boolean).join(" "))));
    // A line that leaves something open need not be in the file.
    if (answer.resolved) resolved.textContent = answer.resolved.split("\n").filter((line) => !line.endsWith(' = "none"')).join("\n");
    return answer.ok;
  }

  const checkSoon = debounce(() => check().catch((error) => {
    if (!signal.aborted) trouble.replaceChildren(failure(error));
  }), CHECK_MS);

  async function begin() {
    starting.disabled = true;
    starting.textContent = "Starting";
    try {
      if (!(await check())) {
        const wrong = formNode.querySelectorAll("[aria-invalid=true]");
        wrong[0]?.focus();
        announce(wrong.length ? `${counted(wrong.length, "value")} cannot be used.` : trouble.textContent);
        return;
      }
      announce("The run begins.");
      const job = await post("/runs", { values: values() }, { signal });
      await follow(job);
    } catch (error) {
      if (!signal.aborted) trouble.replaceChildren(failure(error));
    } finally {
      starting.disabled = false;
      starting.textContent = START;
    }
  }

  // Go to the run as soon as its name is known: it is a hash over its data, which may have to be fetched first.
  async function follow(job) {
    const go = (name) => navigate(`#/${markets.count > 1 ? "market" : "run"}/${encodeURIComponent(name)}/live`);
    if (job.name) {
      go(job.name);
      return;
    }
    const say = (stage) => trouble.replaceChildren(el("p", { class: "starting" },
      el("span", { class: "wheel", "aria-hidden": "true" }),
      stage ? `Stage ${stage.number}, ${stage.name}.` : "The run begins.",
      stage?.name === "hardware" ? " How fast this computer is gets measured once, in some 20 seconds." : ""));
    say(job.stage);
    const listening = new AbortController();
    signal.addEventListener("abort", () => listening.abort());
    await new Promise((done) => {
      signal.addEventListener("abort", done);
      stream({}, { job(told) {
        if (told.job !== job.job) return;
        if (told.name) go(told.name);
        else if (told.error) trouble.replaceChildren(failure(told.error));
        else {
          say(told.stage);
          return;
        }
        done();
      } }, { signal: listening.signal });
    });
    listening.abort();
  }

  const formNode = el("form", { class: "new-run", novalidate: true, oninput: checkSoon, onchange: checkSoon,
    onsubmit: (event) => {
      event.preventDefault();
      begin();
    } },
  el("div", { class: "stack" },
    card("What to test", [markets.node, el("div", { class: "fields" }, start.node, end.node)]),
    card("With which rules", el("div", { class: "fields" }, profile.node, strategy.node)),
    card("Everything else", [el("p", { class: "muted" }, "Left as it is, this is what a first run needs."), folds])),
  el("div", { class: "stack summary" },
    card("What will run", [
      trouble,
      el("div", { class: "row" }, starting, el("span", { class: "muted" }, "It can be stopped and resumed.")),
      el("p", { class: "muted" }, "The same run in a terminal: save this and call ",
        el("code", null, "barwise run FILE"), "."),
      resolved,
    ])));

  const origin = el("p", { class: "muted" });
  root.replaceChildren(heading("New run"), origin, formNode);
  if (from) {
    try {
      await copy(from);
      origin.append("Filled with the settings of ", el("span", { class: "code" }, from), ".");
    } catch (error) {
      if (signal.aborted) throw error;
      origin.replaceWith(failure(error));
    }
  }
  checkSoon();

  // Fill the form with the settings of a run that is there.
  async function copy(name) {
    const { values: found } = await get(runPath(name, "settings"), {}, { signal });
    if (found.strategy?.class) await strategy.put(found.strategy.class);
    for (const [section, keys] of Object.entries(found)) {
      for (const [key, value] of Object.entries(keys)) fields.get(`${section}.${key}`)?.put(value);
    }
    markets.put(found.market || {});
  }
}
