"""A slow, plain second implementation of docs/execution.md: the oracle that the compiled engine is compared with."""
