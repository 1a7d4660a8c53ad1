// The markets of a new run: a row each of venue, symbol, timeframe and quantity, with what is wrong said below the row.

import { button, el } from "../ui.js";

const SAMPLE = "SAMPLE";
const TIMEFRAMES = [["1M", "1M, a minute"], ["5M", "5M"], ["15M", "15M"], ["30M", "30M"], ["1H", "1H"], ["2H", "2H"],
  ["4H", "4H"], ["1D", "1D"], ["1W", "1W"]];
const PARTS = ["exchange", "symbol", "timeframe", "quantity"];
const FIRST_TIMEFRAME = "1H";

let made = 0;

// options = {form: what the API says of the form, first: the market of the first row, onChange}.
// It has node, count, values(): the keys of the section `market` that it stands for, put(section) and fail(errors).
export class Markets {
  constructor({ form, first, onChange }) {
    this.venues = form.venues.filter((name) => name !== SAMPLE);
    this.defaults = form.values?.market ?? {};
    this.onChange = onChange;
    this.samples = el("datalist", { id: "samples" }, form.samples.map((name) => el("option", { value: name })));
    this.list = el("div", { class: "market-rows" });
    this.rows = [];
    this.trouble = el("p", { class: "trouble", id: "markets-trouble" });
    this.node = el("fieldset", { class: "markets", "aria-describedby": "markets-trouble" },
      el("legend", null, "Market"), this.samples, this.list, this.trouble,
      button("Add a market", () => {
        // Most often it is another symbol of the same venue.
        const { exchange, timeframe } = this.rows.at(-1).controls;
        this.#add({ exchange: exchange.value, timeframe: timeframe.value }).controls.symbol.focus();
        this.onChange();
      }));
    this.#add({ ...this.defaults, ...first });
  }

  get count() {
    return this.rows.length;
  }

  #add({ exchange, symbol, timeframe, quantity, file }) {
    const id = `market-${(made += 1)}`;
    const row = { file: null, controls: {
      exchange: choice("exchange", [[SAMPLE, "SAMPLE, made up"], ...this.venues.map((name) => [name, name])],
        String(exchange || SAMPLE).toUpperCase()),
      symbol: el("input", { name: "symbol", autocomplete: "off", spellcheck: "false", autocapitalize: "characters",
        value: symbol || "" }),
      timeframe: choice("timeframe", TIMEFRAMES, timeframe || FIRST_TIMEFRAME),
      quantity: el("input", { name: "quantity", inputmode: "decimal", autocomplete: "off", placeholder: "0.1",
        value: quantity ?? "" }),
    } };
    const labels = { exchange: "Venue", symbol: "Symbol", timeframe: "Timeframe", quantity: "Quantity" };
    row.trouble = el("p", { class: "trouble", id });
    row.file = file || null;
    row.remove = button("Remove", () => {
      this.rows.splice(this.rows.indexOf(row), 1);
      row.node.remove();
      this.#settle();
      this.rows.at(-1).controls.symbol.focus();
      this.onChange();
    }, { class: "quiet remove" });
    for (const control of Object.values(row.controls)) control.setAttribute("aria-describedby", id);
    row.node = el("div", { class: "market-row", role: "group" },
      PARTS.map((part) => el("label", null, el("span", null, labels[part]), row.controls[part])), row.remove,
      row.file && el("p", { class: "hint" }, "candles of ", el("code", null, row.file)), row.trouble);
    row.controls.exchange.addEventListener("change", () => this.#settle());
    this.rows.push(row);
    this.list.append(row.node);
    this.#settle();
    return row;
  }

  #settle() {
    this.rows.forEach(({ node, remove, controls }, i) => {
      node.setAttribute("aria-label", `Market ${i + 1}`);
      remove.setAttribute("aria-label", `Remove market ${i + 1}`);
      remove.hidden = this.rows.length === 1;
      const isSample = controls.exchange.value === SAMPLE;
      if (isSample) controls.symbol.setAttribute("list", "samples");
      else controls.symbol.removeAttribute("list");
      controls.symbol.placeholder = isSample ? "SAMPLE-BTC" : "BTCUSDT";
    });
  }

  // What it says of the section `market`. One row is the market itself; what is open there is as it is by default.
  values() {
    const all = this.rows.map(({ controls, file }) => {
      const given = Object.fromEntries(PARTS.map((part) => [part, controls[part].value.trim() || null]));
      if (given.exchange === SAMPLE && !this.defaults.exchange) given.exchange = null;
      if (given.quantity !== null && Number.isFinite(Number(given.quantity))) given.quantity = Number(given.quantity);
      if (file) given.file = file;
      return given;
    });
    const known = (market, isDefault) => Object.fromEntries(Object.entries(market).filter(([part, value]) => (
      value !== null || (isDefault && (this.defaults[part] ?? null) !== null))));
    return all.length === 1 ? known(all[0], true) : { markets: all.map((market) => known(market, false)) };
  }

  // Fill it as a section `market` has it.
  put({ markets, ...one }) {
    this.rows = [];
    this.list.replaceChildren();
    // The file of a single market has a field of its own.
    if (!markets?.length) this.#add({ ...one, file: null });
    // What a market leaves open is as it is for all of them.
    for (const market of markets || []) this.#add({ ...one, file: null, ...market });
  }

  // Whether an error is shown here: one of a single market by its key, one of several by its row.
  takes({ section, key }) {
    return section === "market" && [...PARTS, "markets"].includes(key);
  }

  fail(errors) {
    this.trouble.textContent = "";
    for (const { controls, trouble } of this.rows) {
      trouble.textContent = "";
      for (const control of Object.values(controls)) control.removeAttribute("aria-invalid");
    }
    for (const { key, message, hint, row, part } of errors) {
      const wrong = key === "markets" ? this.rows[row] : this.rows[0];
      const place = wrong ? wrong.trouble : this.trouble;
      place.append(message, el("span", null, ` ${hint} `));
      const control = wrong?.controls[key === "markets" ? part : key];
      const marked = control ? [control] : (wrong ? [wrong] : this.rows).map(({ controls }) => controls.symbol);
      for (const one of marked) one.setAttribute("aria-invalid", "true");
    }
  }
}

// A choice that has what is chosen, even if it is none of the usual ones.
function choice(name, options, chosen) {
  const all = options.some(([value]) => value === chosen) ? options : [...options, [chosen, chosen]];
  return el("select", { name }, all.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
}
