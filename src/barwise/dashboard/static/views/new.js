// A new run: what to test, how hard to search, and everything else folded away; checked while it is filled in.

import { get, post, runPath, stream } from "../api.js";
import { button, card, counted, debounce, el, failure, heading, stylesheet, words } from "../ui.js";
import { Field } from "./form_fields.js";

const START = "Start the run";
const SAMPLE = "SAMPLE";
const BUILT_IN = "EMA/RSI/ATR, built in";
const TIMEFRAMES = [["1M", "1M, a minute"], ["5M", "5M"], ["15M", "15M"], ["30M", "30M"], ["1H", "1H"], ["2H", "2H"],
  ["4H", "4H"], ["1D", "1D"], ["1W", "1W"]];
const PROFILES = { FAST: "a first look", BALANCED: "the usual search", THOROUGH: "a long search" };
// What the front of the form has is not among the folded settings again.
const IN_FRONT = { market: ["exchange", "symbol", "timeframe", "start", "end", "quantity", "markets"],
  strategy: ["class"], optimization: ["profile"] };
// In the order of a run.
const TITLES = { strategy: "Strategy parameters", execution: "Account and costs", optimization: "Search",
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

  const markets = new Markets(form, params);
  const start = field("market", "start", { label: "First day", placeholder: "2025-01-01",
    hint: "open = everything that is stored" });
  const end = field("market", "end", { label: "End", placeholder: "2026-01-01",
    hint: "exclusive: bars open before it" });
  const strategyClass = sections.strategy.properties.class.default;
  const strategies = form.strategies?.length ? form.strategies : [strategyClass];
  const strategy = field("strategy", "class", { label: "Strategy",
    hint: "files with strategies in the home folder are listed too",
    choices: strategies.map((name) => [name, name === strategyClass ? BUILT_IN : name]) });
  const profile = field("optimization", "profile", { label: "Search profile",
    choices: Object.entries(PROFILES).map(([value, text]) => [value, `${value}: ${text}`]),
    hint: "trials and width of the search" });

  // -- The rest, folded --

  const known = Object.keys(TITLES).filter((section) => sections[section]);
  const others = Object.keys(sections).filter((section) => !TITLES[section]);
  const folds = [...known, ...others].map((section) => {
    const { properties } = sections[section];
    const keys = Object.keys(properties).filter((key) => !IN_FRONT[section]?.includes(key));
    return el("details", { class: "fold" },
      el("summary", null, TITLES[section] || words(section)),
      el("div", { class: "fields" }, keys.map((key) => field(section, key, { label: words(key) }).node)));
  });

  // -- Checking and starting --

  const resolved = el("pre", { class: "resolved", tabindex: 0, "aria-label": "The configuration as a file" }, "");
  const trouble = el("div", { class: "form-trouble", "aria-live": "polite" });
  const starting = el("button", { type: "submit", class: "first" }, START);
  let asked = 0;

  function values() {
    const given = {};
    for (const one of fields.values()) {
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
    for (const one of fields.values()) one.fail(null);
    markets.fail(null);
    for (const error of errors) {
      const place = fields.get(`${error.section}.${error.key}`);
      if (place) place.fail(error);
      else if (error.section === "market" && markets.has(error.key)) markets.fail(error);
      else left.push(error);
    }
    trouble.replaceChildren(...left.map((error) => el("p", { class: "trouble" },
      [error.message, error.hint].filter(Boolean).join(" "))));
    if (answer.resolved) resolved.textContent = answer.resolved;
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
    // Of several markets the list shows each, and how it is with it.
    const go = (name) => navigate(markets.count > 1 ? "#/runs" : `#/run/${encodeURIComponent(name)}/live`);
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
    card("With which rules", el("div", { class: "fields" }, strategy.node, profile.node)),
    card("Everything else", [el("p", { class: "muted" }, "Left as it is, this is what a first run needs."), folds])),
  el("div", { class: "stack summary" },
    card("What will run", [
      trouble,
      el("div", { class: "row" }, starting, el("span", { class: "muted" }, "It can be stopped and resumed.")),
      el("p", { class: "muted" }, "The same run in a terminal: save this and call ",
        el("code", null, "barwise run FILE"), "."),
      resolved,
    ])));

  root.replaceChildren(heading("New run"), formNode);
  markets.onChange = checkSoon;
  if (params.from) await copy(params.from, fields, markets, signal);
  checkSoon();
}

// Fill the form with the settings of a run that is there.
async function copy(name, fields, markets, signal) {
  const { configuration = {} } = await get(runPath(name), {}, { signal });
  for (const [section, keys] of Object.entries(configuration)) {
    for (const [key, value] of Object.entries(keys)) fields.get(`${section}.${key}`)?.put(value);
  }
  markets.put(configuration.market || {});
}

// One market or several: a row each of venue, symbol, timeframe and quantity.
class Markets {
  constructor(form, params) {
    this.venues = form.venues.filter((name) => name !== SAMPLE);
    this.samples = el("datalist", { id: "samples" }, form.samples.map((name) => el("option", { value: name })));
    this.rows = el("div", { class: "market-rows" });
    this.trouble = el("p", { class: "trouble", id: "markets-trouble" });
    this.onChange = () => {};
    this.node = el("fieldset", { class: "markets", "aria-describedby": "markets-trouble" },
      el("legend", null, "Market"), this.samples, this.rows, this.trouble,
      button("Add a market", () => {
        this.#add({}).querySelector("select").focus();
        this.onChange();
      }));
    this.#add(params);
  }

  #add({ exchange, symbol, timeframe, quantity }) {
    const at = this.rows.children.length + 1;
    const label = (text, control) => el("label", null, el("span", null, text), control);
    const venue = el("select", { name: "exchange" }, [SAMPLE, ...this.venues].map((name) => el("option", {
      value: name, selected: name === exchange }, name === SAMPLE ? "SAMPLE, made up" : name)));
    const row = el("div", { class: "market-row", role: "group", "aria-label": `Market ${at}` },
      label("Venue", venue),
      label("Symbol", el("input", { name: "symbol", autocomplete: "off", spellcheck: "false",
        autocapitalize: "characters", value: symbol || "" })),
      label("Timeframe", el("select", { name: "timeframe" }, TIMEFRAMES.map(([value, text]) => el("option", {
        value, selected: value === (timeframe || "1H") }, text)))),
      label("Quantity", el("input", { name: "quantity", inputmode: "decimal", autocomplete: "off", placeholder: "0.1",
        value: quantity ?? "" })),
      button("Remove", () => {
        row.remove();
        this.#settle();
        this.onChange();
      }, { class: "quiet remove", "aria-label": `Remove market ${at}` }));
    venue.addEventListener("change", () => this.#settle());
    this.rows.append(row);
    this.#settle();
    return row;
  }

  #settle() {
    for (const row of this.rows.children) {
      row.querySelector(".remove").hidden = this.rows.children.length === 1;
      const symbol = row.querySelector("[name=symbol]");
      const isSample = row.querySelector("[name=exchange]").value === SAMPLE;
      if (isSample) symbol.setAttribute("list", "samples");
      else symbol.removeAttribute("list");
      symbol.placeholder = isSample ? "SAMPLE-BTC" : "BTCUSDT";
    }
  }

  get count() {
    return this.rows.children.length;
  }

  has(key) {
    return ["exchange", "symbol", "timeframe", "quantity", "markets"].includes(key);
  }

  fail(error) {
    for (const control of this.rows.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
    this.trouble.textContent = error ? [error.message, error.hint].filter(Boolean).join(" ") : "";
    if (!error) return;
    const wrong = error.key === "markets" ? this.rows.querySelectorAll("select")
      : this.rows.querySelectorAll(`[name="${error.key}"]`);
    for (const control of wrong) control.setAttribute("aria-invalid", "true");
  }

  // What of it is in the section `market`; the made-up market is what a run takes where none is named.
  values() {
    const all = [...this.rows.children].map((row) => {
      const given = Object.fromEntries(["exchange", "symbol", "timeframe", "quantity"].map((name) => (
        [name, row.querySelector(`[name=${name}]`).value.trim()])));
      if (given.exchange === SAMPLE) delete given.exchange;
      if (!given.symbol) delete given.symbol;
      if (!given.quantity) delete given.quantity;
      else if (Number.isFinite(Number(given.quantity))) given.quantity = Number(given.quantity);
      return given;
    });
    return all.length === 1 ? all[0] : { markets: all };
  }

  put({ markets = [], exchange, symbol, timeframe, quantity }) {
    this.rows.replaceChildren();
    for (const one of markets.length ? markets : [{ exchange, symbol, timeframe, quantity }]) this.#add(one);
  }
}
