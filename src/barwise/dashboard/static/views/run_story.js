// One trade's whole story beside the chart: what it made, then signal, entry, levels, exit and certainty, in the words of
// `barwise audit`.

import { get, runPath } from "../api.js";
import { button, el, empty, failure, money, number, price, spinner, when, words } from "../ui.js";
import { coloured, labelOf, nameOf, NOTHING, result, sameTrade, scrolling, side } from "./run_words.js";

const NAME_WIDTH = 12; // columns of a section's name in the lines
const HEAD_LINES = 1;
const ROWS = 5_000; // of one request

// Tells the trade in the node; act = {close(), step(by): to the trade after or before}. Returns {trade_id, piece, side, entry_time, exit_time, net_pnl}; null where it could not be
// had, or another was asked for.
export async function tellStory(node, run, trade, signal, act) {
  const title = nameOf(trade);
  node.hidden = false;
  node.dataset.trade = String(trade.trade_id);
  if (run.part === "out_of_sample") return tellRow(node, run, trade, signal, act);
  node.replaceChildren(header(title, act), spinner());
  let answer;
  try {
    answer = await get(runPath(run.name, "trades", run.part, trade.trade_id, "story"), {}, { signal });
  } catch (problem) {
    if (!signal.aborted) node.replaceChildren(header(title, act), failure(problem));
    return null;
  }
  if (signal.aborted) return null;
  const { story, lines } = answer;
  node.replaceChildren(
    header(title, act),
    el(
      "p", { class: "story-head" },
      side(story.trade.side), ` ${price(story.trade.quantity)} · ${labelOf(run.part)} · ${words(story.exit.reason)}`,
      story.certainty.ambiguous ? el("span", { class: "story-unclear" }, "ambiguous") : "",
    ),
    amounts({ ...story.result, entry_price: story.entry.entry_price, exit_price: story.exit.price, bars_held: story.exit.bars_held }),
    fills(story),
    ...sections(lines),
  );
  const first = story.entry.steps.find((step) => step.fill);
  return {
    trade_id: trade.trade_id, piece: null, side: story.trade.side, net_pnl: story.result.net_pnl,
    entry_time: Date.parse(first.time), exit_time: Date.parse(story.exit.time),
  };
}

// A trade of the walk-forward: its pieces are not on record as backtests, so its row is all that there is.
async function tellRow(node, run, asked, signal, act) {
  const title = nameOf(asked);
  let trade = asked;
  if (asked.net_pnl === undefined) {
    node.replaceChildren(header(title, act), spinner());
    try {
      trade = await rowOf(run, asked, signal);
    } catch (problem) {
      if (!signal.aborted) node.replaceChildren(header(title, act), failure(problem));
      return null;
    }
    if (signal.aborted) return null;
  }
  if (!trade) {
    const text = asked.piece ? `The walk-forward has no ${title}.` : "Trades of the walk-forward are numbered anew in each window: click one in the table.";
    node.replaceChildren(header(title, act), empty(asked.piece ? "No such trade" : "Which piece?", text));
    return null;
  }
  node.replaceChildren(
    header(nameOf(trade), act),
    el("p", { class: "story-head" }, side(trade.side), ` ${price(trade.quantity)} · window ${trade.piece} · ${words(trade.exit_reason)}`),
    amounts({ ...trade, risk: trade.initial_risk * trade.quantity }),
    el("p", {}, `In at ${when(trade.entry_time)}, out at ${when(trade.exit_time)} UTC; filled in tier ${trade.tiers}.`),
    el("p", { class: "muted" }, "Signal and levels are told for baseline and optimized: the windows of a walk-forward leave their trades and fills only."),
  );
  return trade;
}

async function rowOf(run, wanted, signal) {
  if (!wanted.piece) return null;
  for (let offset = 0; ; offset += ROWS) {
    const { trades, total } = await get(runPath(run.name, "trades"), { part: run.part, offset, limit: ROWS }, { signal });
    const found = trades.find((trade) => sameTrade(trade, wanted));
    if (found || offset + ROWS >= total) return found ?? null;
  }
}

function header(title, { close, step }) {
  return el(
    "div", { class: "story-bar" }, el("h3", { tabindex: -1, id: "story-title" }, title),
    button("‹", () => step(-1), { class: "quiet", "aria-label": "The trade before, key k", title: "the trade before (k)" }),
    button("›", () => step(1), { class: "quiet", "aria-label": "The next trade, key j", title: "the next trade (j)" }),
    button("×", close, { class: "quiet", "aria-label": "Close the story of the trade", title: "close (Escape)" }),
  );
}

// From gross to net, as the library adds it up.
function amounts(told) {
  const pairs = [
    ["net", result(told.net_pnl), "net_pnl"],
    ["in R", told.r === null ? NOTHING : coloured(told.r, `${number(told.r, 2, { signed: true })} R`), "r"],
    ["gross", result(told.gross_pnl), "gross_pnl"],
    ["fees", money(told.fees), "fees"],
    ["slippage, in gross", money(told.slippage), "slippage"],
    ["funding", money(told.funding), "funding"],
    ["entry", price(told.entry_price), "entry_price"],
    ["exit", price(told.exit_price), "exit_price"],
    ["furthest ahead", result(told.mfe), "mfe"],
    ["furthest behind", result(told.mae), "mae"],
    ["bars held", number(told.bars_held, 0), "bars_held"],
    ["risk", money(told.risk), "risk"],
  ];
  return el("dl", { class: "story-amounts" }, ...pairs.map(([name, value, key]) => el("div", { "data-amount": key }, el("dt", {}, name), el("dd", {}, value))));
}

// Every fill of the entry: tier, time, price and what it cost.
function fills(story) {
  const filled = story.entry.steps.filter((step) => step.fill);
  return scrolling(
    "Entry fills",
    el(
      "table", { class: "story-fills" },
      el("thead", {}, el("tr", {}, ...["tier", "time", "quantity", "price", "fee"].map((name) => el("th", { scope: "col" }, name)))),
      el(
        "tbody", {},
        ...filled.map((step) =>
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
