"""Candles and everything that happens to them before a strategy sees them: reading, auditing, resampling, storing."""
