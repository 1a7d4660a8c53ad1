"""What goes into a stage, by name: a stage whose inputs are all as they were need not be run again.

Everything that could change an output is a part of the key: the candles, the rules, the settings, the code of this
package and of the strategy, the libraries that do the arithmetic. What only changes how fast an output comes (threads,
backend, batch size, where the ledger lies) is not.
"""

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import barwise
from barwise.checkpoints import StageKey
from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.optimizer.identity import source_digest
from barwise.pipeline.stages import Inputs, Market, Rules
from barwise.report.files import file_name
from barwise.trail import OVER_SEVERAL

# The order in which --from counts.
STAGES = ("7.1", "7.2", "7.3", "8")
_ONLY_SPEED = {"workers", "backend", "address", "batch_size", "storage"}
_LIBRARIES = ("numba", "numpy", "optuna", "polars", "scipy")
_HASH_DIGITS = 8


class Keys:
    """The keys of all stages for one market.

    Args:
        market, rules, inputs: As the stages before left them.
        search: As the user wants it.
        judged: The search that stage 8 judges.
        windows: Of the walk-forward.
        permutations: Shuffled markets, at most.
    """

    def __init__(
        self,
        market: Market,
        rules: Rules,
        inputs: Inputs,
        search: OptimizationConfig,
        judged: OptimizationConfig,
        windows: WalkForwardConfig,
        permutations: int,
    ) -> None:
        candles = inputs.candles
        self.market = f"{candles.exchange}:{candles.symbol}:{candles.timeframe}"
        self._base = {
            "code": code_digest(),
            "strategy source": source_digest(type(rules.strategy)),
            "data": candles.fingerprint,
            "detail": "none" if inputs.detail is None else inputs.detail.fingerprint,
            "funding": "none" if inputs.funding is None else digest_of(inputs.funding),
            "market.quantity": repr(market.quantity),
            **_named("strategy", rules.strategy.to_dict()),
            **_named("execution", rules.execution.to_dict()),
        }
        self._search = _named("optimization", search.to_dict(), _ONLY_SPEED)
        self._judged = _named("optimization", judged.to_dict(), _ONLY_SPEED)
        self._windows = _named("walk_forward", windows.to_dict())
        self._permutations = {"validation.permutations": str(permutations)}
        everything = self._base | self._search | self._windows | self._permutations
        symbol = file_name(candles.symbol)
        self.run = f"run-{symbol}-{candles.timeframe}-{digest_of(everything)[:_HASH_DIGITS]}".lower()

    def search(self, stage: str) -> StageKey:
        """Of "7.1", "7.2", "7.3", or "7" for what all of them leave."""
        return StageKey(stage, self.market, self._base | self._search)

    def judging(self, step: str) -> StageKey:
        """Of one step of stage 8."""
        parts = self._base | self._judged
        if step == "permutations":
            parts |= self._permutations
        elif step not in ("look-ahead", "search"):
            parts |= self._windows
        return StageKey(f"8-{re.sub(r'[^a-z]+', '-', step)}", self.market, parts)


def name_of_all(runs: list[str]) -> str:
    """The name of a run over several markets, by the names of theirs."""
    return f"{OVER_SEVERAL}{digest_of(runs)[:_HASH_DIGITS]}"


@cache
def code_digest() -> str:
    """Hash of all sources of this package and of the versions of what it calculates with."""
    found = hashlib.sha256()
    folder = Path(barwise.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        found.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    versions = [platform.python_version(), platform.machine(), *(version(name) for name in _LIBRARIES)]
    found.update(" ".join(versions).encode())
    return found.hexdigest()


def digest_of(content: Any) -> str:
    """Hash of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _named(section: str, values: Mapping[str, Any], left_out: set[str] | None = None) -> dict[str, str]:
    return {
        f"{section}.{name}": json.dumps(value, sort_keys=True, default=str)
        for name, value in values.items()
        if name not in (left_out or set())
    }
