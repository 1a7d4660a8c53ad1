"""The page at the end of an optimization: what it found, what that cost, and how much of it luck would explain."""

from typing import TYPE_CHECKING, Any

from barwise.report.terminal import facts_grid
from barwise.report.text import counted, money, number, percent, words

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from barwise.optimizer.engine import OptimizationResult

_MOST_OF_FRONT = 10
# Objectives that have a line of their own in any case.
_SHOWN = frozenset({"net_pnl", "sharpe_ratio", "max_drawdown", "total_trades"})


def print_optimization(result: "OptimizationResult", console: "Console") -> None:
    """Print the summary of one optimization.

    Args:
        result: What to print.
        console: A rich console; its width and colours are respected, 80 columns are enough.
    """
    from rich.padding import Padding

    for part in (_identity(result), _stages(result), _before_and_after(result), _lines(result)):
        console.print(Padding(part, (0, 1, 1, 1), expand=False), highlight=False, markup=False)


def luck_sentence(result: "OptimizationResult") -> str:
    """How the best Sharpe ratio stands to what the best of so many trials shows by luck alone."""
    found, luck = result.best.sharpe_ratio, result.luck_line
    told = (
        f"{result.n_trials:,} configurations were tried on these candles, neighbours and earlier runs counted; the "
        f"best of so many is expected to show a Sharpe ratio of {number(luck)} by luck alone; this one shows "
        f"{number(found)}"
    )
    if found <= luck:
        return f"{told}: no more than luck. Walk it forward before you believe it."
    return f"{told}. More than luck is not yet an edge: walk it forward."


def plateau_sentence(result: "OptimizationResult") -> str:
    """How much of the neighbourhood keeps the objective."""
    plateau = result.plateau
    if plateau is None:
        return ""
    around = counted(len(plateau.points), "neighbour")
    if plateau.kept is None:
        return f"{around} one step away: {plateau.reason}"
    kind = "a plateau" if plateau.kept >= 0.5 else "a peak, not a plateau"
    return (
        f"{percent(100.0 * plateau.kept, 0)} of {around} one step away keep 80 % of the objective ({kind}); the "
        f"median neighbour has {number(plateau.median)}, the worst {number(plateau.worst)}"
    )


def _identity(result: "OptimizationResult") -> "RenderableType":
    from rich.text import Text

    candles, stage = result.candles, result.stages[0]
    facts = (
        (f"{candles.symbol} {candles.timeframe}".strip(), "bold"),
        ("SYNTHETIC", "bold reverse" if candles.synthetic else None),
        (candles.exchange, ""),
        (counted(len(candles), "bar"), ""),
        (type(result.strategy).name(), ""),
        (f"sampler {stage.sampler}", ""),
    )
    line = Text("  ").join(Text(text, style) for text, style in facts if text and style is not None)
    goals = " and ".join(
        f"{'smallest' if direction == 'minimize' else 'largest'} {words(name)}"
        for name, direction in zip(stage.objective.names, stage.objective.directions, strict=True)
    )
    line.append(f"\nsearched for the {goals}; everything below is in-sample", "dim")
    return line


def _stages(result: "OptimizationResult") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stage")
    for head in ("trials", "pruned", "bars used", "before", "after", "seconds"):
        table.add_column(head, justify="right")
    for stage in result.stages:
        share = stage.trials.bars.sum() / max(1, stage.full_bars)
        table.add_row(
            stage.stage,
            f"{stage.tried:,}",
            f"{stage.pruned:,}",
            percent(100.0 * share, 0),
            number(stage.base_value, 3),
            Text(number(stage.best_value, 3), "bold"),
            f"{stage.seconds:,.2f}",
        )
    return table


def _before_and_after(result: "OptimizationResult") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    before, after = result.baseline, result.best
    rows: list[tuple[str, str, str]] = [
        ("net result", money(before.net_pnl, signed=True), money(after.net_pnl, signed=True)),
        ("Sharpe", *(number(run.metrics["sharpe_ratio"]) for run in (before, after))),  # type: ignore[list-item]
        ("max drawdown", percent(before.max_drawdown), percent(after.max_drawdown)),
        ("trades", f"{before.total_trades:,}", f"{after.total_trades:,}"),
    ]
    for name, value in result.best_params.items():
        rows.append((name, _setting(getattr(before.strategy, name)), _setting(value)))
    if result.stages and (objective := result.stages[0].objective.names[0]) not in _SHOWN:
        values = (result.stages[0].base_value, result.stages[-1].best_value)
        rows.insert(0, (words(objective), *(number(value) for value in values)))  # type: ignore[arg-type]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for name, old, new in rows:
        table.add_row(name, Text(old, "dim"), new)
    return table


def _lines(result: "OptimizationResult") -> "RenderableType":

    facts = [
        (
            "",
            "NO RESULT: no trial keeps the guards"
            if result.stages[-1].trials.violation[result.stages[-1].chosen] > 0.0
            else "",
            "bold red",
        ),
        ("Front", _front(result), ""),
        ("Luck", luck_sentence(result), "yellow" if result.best.sharpe_ratio <= result.luck_line else ""),
        ("Plateau", plateau_sentence(result), ""),
        *(("Note", note, "yellow") for note in result.notes),
        ("", "interrupted: the best until then" if result.interrupted else "", "bold red"),
    ]
    return facts_grid(facts)


def _broken(result: "OptimizationResult") -> bool:
    """Whether the chosen trial breaks a guard."""
    stage = result.stages[-1]
    return bool(stage.trials.violation[stage.chosen] > 0.0)


def _front(result: "OptimizationResult") -> str:
    """The Pareto front of the last stage, where there are several objectives."""
    stage = result.stages[-1]
    points = stage.front()
    return "\n".join(
        ", ".join(f"{words(name)} {number(float(point[name]))}" for name in stage.objective.names)
        for point in points[:_MOST_OF_FRONT]
    )


def _setting(value: Any) -> str:
    return "follows the stop" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
