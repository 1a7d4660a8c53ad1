"""Where candles come from: the one door that every venue stands behind, and the only place that may use the network."""
