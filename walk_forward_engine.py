"""Flat API: walk-forward analysis and the verdict. See docs/walk-forward.md and docs/verdict.md."""

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
