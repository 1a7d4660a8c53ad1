"""Finished runs in a home folder, for tests of the dashboard: the files, and the library's own results behind them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from flask.testing import FlaskClient

from barwise.config import ExecutionConfig, OptimizationConfig, WalkForwardConfig
from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX, Endpoints
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.report.findings import RunFindings, StageDone
from barwise.report.run_files import write_run_report
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.validation.engine import ValidationReport, validate

WRITTEN = datetime(2025, 4, 1, 12, 4, 5, tzinfo=UTC)
WHOLE, BARE = "run-sample-btc-1h-0a1b2c3d", "run-sample-btc-1h-00000000"


class Hostile(EmaRsiAtr):
    """Calls itself a script."""

    @classmethod
    def name(cls) -> str:
        return "<script>document.title = 'taken over'</script>"


def days_of(days: int, symbol: str = "SAMPLE-BTC") -> Candles:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return sample_candles(symbol, start=start, end=start + timedelta(days=days))


class Whole(NamedTuple):
    """A run of all stages, in its home folder."""

    home: Path
    findings: RunFindings
    optimization: OptimizationResult
    validation: ValidationReport


def whole_run(home: Path) -> Whole:
    """A run of everything, whose ledger is that of the home folder."""
    search = OptimizationConfig(
        profile="FAST", optuna_sampler="AUTO", num_trials=60, workers=1, min_trades=2, min_rung_trades=2,
        storage=str(home / "data" / "ledger.sqlite"),
    )  # fmt: skip
    candles, strategy = days_of(120), EmaRsiAtr(enable_rsi_filter=False)
    optimization = optimize(candles, strategy, 0.1, config=search)
    windows = WalkForwardConfig(is_length_days=30, oos_length_days=20, stride_days=20, min_trades_per_window=2)
    validation = validate(candles, strategy, 0.1, permutations=19, windows=windows, search=search, run=optimization.run)
    findings = RunFindings(
        name=WHOLE,
        baseline=backtest(candles, strategy, 0.1),
        optimization=optimization,
        validation=validation,
        look_ahead=None,
        stages=(StageDone("7.1", "integers", "done", 1.5),),
        config={"market": {"symbol": candles.symbol}},
        n_trials=validation.n_trials,
        hardware={},
    )
    write_run_report(findings, home, written=WRITTEN)
    return Whole(home, findings, optimization, validation)


def write_bare(
    whole: Whole,
    name: str = BARE,
    *,
    candles: Candles | None = None,
    strategy: Strategy | None = None,
    execution: ExecutionConfig | None = None,
) -> RunFindings:
    """A run of nothing but a baseline: the stages after it were skipped."""
    made = replace(
        whole.findings,
        name=name,
        baseline=backtest(
            whole.findings.baseline.candles if candles is None else candles,
            strategy or whole.findings.baseline.strategy,
            0.1,
            execution=execution,
        ),
        optimization=None,
        validation=None,
        n_trials=None,
        stages=(
            StageDone("7", "optimization", "the span is shorter than the longest period of the box", 0.0, "skipped"),
            StageDone("8", "verdict", "without a search there is nothing to judge", 0.0, "skipped"),
        ),
    )
    write_run_report(made, whole.home, written=WRITTEN)
    return made


def client_of(home: Path) -> FlaskClient:
    return create_app(DashboardConfig(home=home)).test_client()


def ask(client: FlaskClient, path: str, status: int = 200) -> Any:
    """The answer of the API as JSON, which has the status that is expected."""
    answer = client.get(f"{PREFIX}{path}", headers={"Host": "127.0.0.1:8765"})
    content = json.loads(answer.data)
    assert answer.status_code == status, content
    return content


def failure(client: FlaskClient, path: str, status: int) -> dict[str, str]:
    found: dict[str, str] = ask(client, path, status)["error"]
    return found


def check_schema(endpoints: Endpoints, path: str, content: Any) -> None:
    """Hold an answer against what its endpoint promises."""
    jsonschema: Any = import_module("jsonschema")
    [schema] = [endpoint.answers for endpoint in endpoints.all if endpoint.path == path]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)
