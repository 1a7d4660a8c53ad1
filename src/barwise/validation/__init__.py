"""Is it real: walk-forward, tests against markets without an edge, and one verdict."""
