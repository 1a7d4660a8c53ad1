// Which strategy a new run has, and its parameters: those of a strategy of one's own are asked for, because only another
// process may look into its file.

import { post } from "../api.js";
import { debounce, el, words } from "../ui.js";
import { Field } from "./form_fields.js";

const OTHER = "";
const ASK_MS = 500;

// options = {form: what the API says of the form, fields: the Map of all fields by section.key, onChange: when other
//   parameters are there, signal}.
// It has node: the choice, parameters: the fold with the fields, value(), put(reference) which is done when the fields are
// there, and fail(error | null), as a Field has them.
export class StrategyFields {
  constructor({ form, fields, onChange, signal }) {
    const property = form.schema.properties.strategy.properties.class;
    this.section = "strategy";
    this.key = "class";
    this.form = form;
    this.fields = fields;
    this.onChange = onChange;
    this.signal = signal;
    this.builtIn = property.default;
    const found = form.strategies.filter((name) => name !== this.builtIn);
    this.choice = new Field({ section: "strategy", key: "class", property, fallback: this.builtIn, label: "Strategy",
      hint: "strategies in files of the home folder are listed too",
      choices: [[this.builtIn, "EMA/RSI/ATR, built in"], ...found.map((name) => [name, name]), [OTHER, "of another file"]] });
    this.file = new Field({ section: "strategy", key: "file-and-class", property: { type: "string" }, label: "File and class",
      placeholder: "strategies/breakout.py:Breakout", hint: "below the home folder; it is a program, and will be run" });
    this.file.node.hidden = true;
    this.node = [this.choice.node, this.file.node];
    this.title = el("summary", null, "");
    this.note = el("p", { class: "hint" });
    this.list = el("div", { class: "fields" });
    this.parameters = el("details", { class: "fold strategy" }, this.title, this.note, this.list);
    this.asked = 0;
    this.choice.control.addEventListener("change", () => {
      this.file.node.hidden = this.choice.control.value !== OTHER;
      if (this.file.node.hidden) this.#load();
      else this.file.control.focus();
    });
    this.file.control.addEventListener("input", debounce(() => this.#load(), ASK_MS));
    this.#show(this.builtIn, form.schema.properties.strategy, form.schema.$defs, form.values?.strategy);
  }

  get reference() {
    return this.choice.control.value === OTHER ? this.file.control.value.trim() : this.choice.control.value;
  }

  value() {
    return this.reference === this.builtIn ? undefined : this.reference;
  }

  // Whether the fields are those of the strategy that is chosen.
  get isReady() {
    return this.shown === this.reference;
  }

  async put(reference) {
    const isListed = [...this.choice.control.options].some(({ value }) => value === reference);
    this.choice.control.value = isListed ? reference : OTHER;
    this.file.node.hidden = isListed;
    if (!isListed) this.file.put(reference);
    await this.#load();
  }

  fail(error) {
    this.choice.fail(this.file.node.hidden ? error : null);
    this.file.fail(this.file.node.hidden ? null : error);
  }

  async #load() {
    const { reference } = this;
    this.asked += 1;
    const mine = this.asked;
    if (reference === this.shown) return;
    if (reference === this.builtIn) {
      const { strategy } = this.form.schema.properties;
      this.#show(reference, strategy, this.form.schema.$defs, this.form.values?.strategy);
    } else if (/\.py(:|$)/.test(reference)) {
      this.note.textContent = `${reference} is being read.`;
      const { schema } = await post("/form/strategy", { name: reference }, { signal: this.signal })
        .catch(() => ({ schema: null }));
      if (this.signal.aborted || mine !== this.asked) return;
      this.#show(reference, schema || { properties: {} }, schema?.$defs);
      // What is wrong with it the check of the form says, beside its name.
      if (!schema) this.note.textContent = "It could not be read.";
    }
    this.onChange();
  }

  #show(reference, { properties }, definitions = {}, values = {}) {
    const given = new Map();
    for (const [place, field] of this.fields) {
      if (field.section !== "strategy") continue;
      // What two strategies have in common stays as it was set.
      if (field.value() !== undefined) given.set(field.key, field.value());
      this.fields.delete(place);
    }
    const made = Object.entries(properties).filter(([key]) => key !== "class").map(([key, property]) => {
      const field = new Field({ section: "strategy", key, property, definitions, fallback: values?.[key], label: words(key) });
      if (given.has(key)) field.put(given.get(key));
      this.fields.set(`strategy.${key}`, field);
      return field.node;
    });
    const isOwn = reference !== this.builtIn;
    this.shown = reference;
    this.note.textContent = "";
    this.title.textContent = isOwn ? `Parameters of ${reference.split(":").at(-1)}` : "Strategy parameters";
    this.list.replaceChildren(...made);
    if (isOwn && made.length) this.parameters.open = true;
  }
}
