// Fields of a form out of a JSON schema: which control a setting gets, what is sent of it, and what is wrong with it.

import { el } from "../ui.js";

const NONE = "none";
const LONGEST_BOUND = 3;

// The kinds a property may have, `none` left out; references are followed.
function kindsOf(property, definitions) {
  const whole = property.$ref ? { ...definitions[property.$ref.split("/").at(-1)], ...property } : property;
  const kinds = (whole.anyOf || [whole]).filter((kind) => kind.const !== NONE);
  return { kinds, mayBeNone: (whole.anyOf || []).some((kind) => kind.const === NONE), whole };
}

function bounds(kind) {
  const parts = [
    kind.minimum !== undefined && `${kind.minimum} or more`,
    kind.exclusiveMinimum !== undefined && `above ${kind.exclusiveMinimum}`,
    kind.maximum !== undefined && `${kind.maximum} at most`,
  ].filter(Boolean);
  return parts.slice(0, LONGEST_BOUND).join(", ");
}

const asText = (value) => {
  if (value === null || value === undefined || value === NONE) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};

// One setting of one section.
//   options = {section, key, property, definitions, fallback: its default, label, choices: [[value, text]],
//   hint, placeholder}.
// It has node, control, value(): what is sent, undefined where it is as it was by default, and fail(error | null).
export class Field {
  constructor({ section, key, property, definitions = {}, fallback, label = key, choices = null, hint = null,
    placeholder = null }) {
    const { kinds, mayBeNone, whole } = kindsOf(property, definitions);
    this.section = section;
    this.key = key;
    this.kind = kinds[0]?.type || "string";
    this.isJson = kinds.some(({ type: kind }) => kind === "array" || kind === "object") && kinds.length === 1;
    this.fallback = fallback === undefined ? whole.default : fallback;
    const id = `field-${section}-${key}`;
    const options = choices || (kinds[0]?.enum || []).map((value) => [value, String(value)]);
    this.isChoice = options.length > 0;
    this.isFlag = this.kind === "boolean";
    this.control = this.#control(id, options, placeholder ?? (mayBeNone ? NONE : null));
    this.trouble = el("p", { class: "trouble", id: `${id}-trouble` });
    const about = [hint ?? whole.description, bounds(kinds[0] || {})].filter(Boolean).join("; ");
    this.node = el("div", { class: `field ${this.isFlag ? "flag" : ""}`.trim() },
      el("label", { for: id }, label), this.control,
      about && el("p", { class: "hint", id: `${id}-hint` }, about), this.trouble);
    this.control.setAttribute("aria-describedby", about ? `${id}-hint ${id}-trouble` : `${id}-trouble`);
  }

  #control(id, options, placeholder) {
    const name = `${this.section}.${this.key}`;
    if (this.isFlag) return el("input", { id, name, type: "checkbox", checked: this.fallback === true });
    if (this.isChoice) {
      return el("select", { id, name }, options.map(([value, text]) => (
        el("option", { value, selected: value === this.fallback }, text))));
    }
    const isNumber = this.kind === "number" || this.kind === "integer";
    return el("input", { id, name, type: "text", inputmode: isNumber ? "decimal" : null, autocomplete: "off",
      spellcheck: "false", value: asText(this.fallback), placeholder });
  }

  // Put a value in, as a configuration has it.
  put(value) {
    if (this.isFlag) this.control.checked = value === true;
    else this.control.value = this.isChoice ? String(value ?? NONE) : asText(value);
  }

  // What is sent: undefined where nothing differs from the default.
  value() {
    if (this.isFlag) return this.control.checked === (this.fallback === true) ? undefined : this.control.checked;
    const text = this.control.value.trim();
    if (text === asText(this.fallback)) return undefined;
    if (text === "") return null;
    if (this.isJson) {
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    }
    const isNumber = this.kind === "number" || this.kind === "integer";
    // What is no number goes out as it was typed: the check says what is wrong with it.
    return isNumber && Number.isFinite(Number(text)) ? Number(text) : text;
  }

  fail(error) {
    this.control.toggleAttribute("aria-invalid", false);
    if (error) this.control.setAttribute("aria-invalid", "true");
    this.trouble.replaceChildren();
    if (!error) return;
    this.trouble.append(error.message, el("span", null, ` ${error.hint || ""}`));
    const fold = this.node.closest("details");
    if (fold) fold.open = true;
  }
}
