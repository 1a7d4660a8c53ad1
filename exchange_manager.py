"""Flat API: where candles come from, and every error that can come with them. See `barwise.exchange.manager`."""

from barwise import (
    APIError,
    BacktestError,
    BarwiseError,
    CheckpointError,
    ConfigError,
    CredentialError,
    DataError,
    ExchangeManager,
    RateLimitError,
)

__all__ = [
    "APIError",
    "BacktestError",
    "BarwiseError",
    "CheckpointError",
    "ConfigError",
    "CredentialError",
    "DataError",
    "ExchangeManager",
    "RateLimitError",
]
