"""The law as tables of a few candles, worked out by hand from docs/execution.md and never from what the engine said."""
