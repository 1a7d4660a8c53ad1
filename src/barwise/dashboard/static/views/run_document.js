// One shape for what a run found: the report of a single backtest has its figures elsewhere than that of a whole run.

const UNITS = {
  trades: "count", win_rate: "percent", net_pnl: "money", total_return: "percent", cagr: "percent", sharpe_ratio: "ratio",
  daily_sharpe_ratio: "ratio", sortino_ratio: "ratio", volatility: "percent", max_drawdown: "percent", profit_factor: "ratio",
  expectancy: "money", expectancy_r: "R", exposure: "percent", fees: "money", slippage: "money", funding: "money",
};
const OWN_NAMES = { trades: "total_trades" };

// The document as that of a whole run; one that is neither comes back as it is.
export function unified(found) {
  if (found.kind !== "backtest" || found.comparison) return found;
  const { exchange, symbol, timeframe, synthetic, bars, metrics, verdict } = found;
  const market = { exchange, symbol, timeframe, synthetic, bars, first_bar: found.first_bar, last_bar: found.last_bar };
  return {
    ...found,
    market,
    strategy: found.strategy.name,
    n_trials: verdict?.n_trials ?? null,
    parameters: { baseline: found.strategy.parameters },
    verdict: verdict && { word: verdict.word, reasons: [verdict.text] },
    comparison: {
      units: UNITS,
      baseline: { label: "backtest", figures: figuresOf(metrics), undefined: metrics.undefined },
      buy_and_hold: metrics.buy_and_hold && { label: "buy and hold", figures: figuresOf(metrics.buy_and_hold) },
    },
    band: { baseline: found.band },
    notes: found.notes.map((text) => ({ part: "data", text })),
  };
}

function figuresOf(metrics) {
  return Object.fromEntries(Object.keys(UNITS).map((name) => [name, metrics[OWN_NAMES[name] ?? name] ?? null]));
}
