// One trade's whole story beside the chart: what it made, then signal, entry, levels, exit and certainty, in the words of
// `barwise audit`.

import { get } from "../api.js";
import { el, failure, money, number, spinner, when } from "../ui.js";
import { gain, labelOf, NOTHING, price, words } from "./run_words.js";

const NAME_WIDTH = 12; // columns of a section's name in the lines
const HEAD_LINES = 1;

// Tells the trade in the node, and returns its document; null where it could not be had or another was asked for.
export async function tellStory(node, run, part, trade, signal, close) {
  node.hidden = false;
  node.replaceChildren(spinner());
  let answer;
  try {
    answer = await get(`/runs/${run.name}/trades/${part}/${trade}/story`, {}, { signal });
  } catch (problem) {
    if (problem.name === "AbortError" || signal.aborted) return null;
    node.replaceChildren(header(`Trade ${trade}`, close), failure(problem));
    return null;
  }
  if (signal.aborted) return null;
  const { story, lines } = answer;
  node.dataset.trade = String(trade);
  node.replaceChildren(
    header(`Trade ${trade}`, close),
    el(
      "p", { class: "story-head" },
      el("span", { class: `side-${story.trade.side}` }, story.trade.side === "long" ? "▲ long " : "▼ short "),
      `${price(story.trade.quantity)} · ${labelOf(part)} · ${words(story.exit.reason)}`,
      story.certainty.ambiguous && el("span", { class: "story-unclear" }, "ambiguous"),
    ),
    amounts(story),
    steps(story),
    ...sections(lines),
  );
  return story;
}

function header(title, close) {
  const button = el("button", { type: "button", class: "story-close", "aria-label": "Close the story of the trade" }, "×");
  button.addEventListener("click", close);
  return el("header", { class: "story-bar" }, el("h3", { tabindex: "-1", id: "story-title" }, title), button);
}

// From gross to net, as the library adds it up.
function amounts(story) {
  const { result, exit, entry } = story;
  const signed = (value) => gain(value, `${value > 0 ? "+" : ""}${money(value)}`);
  const pairs = [
    ["net", signed(result.net_pnl), "net_pnl"],
    ["in R", result.r === null ? NOTHING : gain(result.r, `${result.r > 0 ? "+" : ""}${number(result.r, 2)} R`), "r"],
    ["gross", signed(result.gross_pnl), "gross_pnl"],
    ["fees", money(result.fees), "fees"],
    ["slippage (in gross)", money(result.slippage), "slippage"],
    ["funding", money(result.funding), "funding"],
    ["entry", price(entry.entry_price), "entry_price"],
    ["exit", price(exit.price), "exit_price"],
    ["furthest ahead", signed(result.mfe), "mfe"],
    ["furthest behind", signed(result.mae), "mae"],
    ["bars held", number(exit.bars_held, 0), "bars_held"],
    ["risk", money(result.risk), "risk"],
  ];
  return el("dl", { class: "story-amounts" }, ...pairs.map(([name, value, key]) => el("div", { "data-amount": key }, el("dt", {}, name), el("dd", {}, value))));
}

// Every fill of the entry: tier, time, price and what it cost.
function steps(story) {
  const fills = story.entry.steps.filter((step) => step.fill);
  if (!fills.length) return null;
  return el(
    "div", { class: "run-scroll", tabindex: "0", role: "region", "aria-label": "Entry fills" },
    el(
      "table", { class: "run-table story-fills" },
      el("thead", {}, el("tr", {}, ...["tier", "time", "quantity", "price", "fee"].map((name) => el("th", { scope: "col" }, name)))),
      el(
        "tbody", {},
        ...fills.map((step) =>
          el(
            "tr", {},
            el("td", {}, el("span", { class: `swatch tier-${step.tier}`, "aria-hidden": "true" }), `${step.tier} ${step.fill.liquidity}`),
            el("td", {}, when(Date.parse(step.time))),
            el("td", {}, price(step.fill.quantity)),
            el("td", {}, price(step.fill.price)),
            el("td", {}, money(step.fill.fee)),
          ),
        ),
      ),
    ),
  );
}

// The lines come as a terminal has them: a name in the first columns where a section begins, then one sentence a line.
function sections(lines) {
  const found = [];
  for (const line of lines.slice(HEAD_LINES)) {
    if (!line.trim()) continue;
    const name = line.slice(0, NAME_WIDTH).trim();
    const text = line.slice(NAME_WIDTH).trim();
    if (name || !found.length) found.push({ name, sentences: [] });
    found.at(-1).sentences.push(text);
  }
  return found.map(({ name, sentences }) =>
    el("section", { class: "story-part", "data-part": name.toLowerCase() }, el("h4", {}, name), el("ul", {}, ...sentences.map((text) => el("li", {}, text)))),
  );
}
