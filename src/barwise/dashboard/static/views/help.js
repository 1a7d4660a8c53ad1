// The keys of the page, over whatever is shown; Escape or the button closes it.

import { el, showDialog } from "../ui.js";

const KEYS = [
  ["Everywhere", [
    [["g", "r"], "runs"], [["g", "d"], "data"], [["n"], "new run"], [["/"], "filter the list"],
    [["t"], "dark or light"], [["?"], "these keys"], [["Esc"], "leave a field, close this"],
  ]],
  ["In a table", [
    [["\u2191"], "row above"], [["\u2193"], "row below"], [["Home"], "first row"], [["End"], "last row"],
    [["Enter"], "open the row"], [["Space"], "select a run to compare"],
  ]],
  ["In the list of runs", [[["c"], "compare what is selected"]]],
  ["In the result of a run", [
    [["j"], "next trade"], [["k"], "trade before"], [["Enter"], "story of the trade"], [["Esc"], "close the story"],
  ]],
  ["In its candles", [
    [["+"], "closer"], [["-"], "farther"], [["\u2190"], "earlier"], [["\u2192"], "later"], [["Home"], "first bar"],
    [["End"], "last bar"], [["0"], "all bars"], [["Shift \u2192"], "crosshair, candle by candle"],
  ]],
  ["In a run that is going on", [[["s"], "stop it; what is done is kept"]]],
];

function section([title, keys]) {
  return [
    el("h3", null, title),
    el("dl", { class: "keys" }, keys.map(([names, text]) => el("div", null,
      el("dt", null, names.map((name, i) => [i ? " then " : "", el("kbd", null, name)])), el("dd", null, text)))),
  ];
}

export function open() {
  showDialog("help", "Keys", KEYS.map(section));
}
