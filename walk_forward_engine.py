"""Flat API: walk-forward analysis and the verdict. See `barwise.validation.walk_forward` and `barwise.validation.engine`."""

from barwise.config import WalForwardConfig, WalkForwardConfig
from barwise.validation.engine import ValidationReport, validate, walk_forward
from barwise.validation.walk_forward import WalForwardEngine, WalkForwardEngine, WalkForwardResult

__all__ = [
    "ValidationReport",
    "WalForwardConfig",
    "WalForwardEngine",
    "WalkForwardConfig",
    "WalkForwardEngine",
    "WalkForwardResult",
    "validate",
    "walk_forward",
]
