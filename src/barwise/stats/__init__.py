"""What a track record and a search prove: numbers in, numbers out, each with its source in docs/statistics.md."""
