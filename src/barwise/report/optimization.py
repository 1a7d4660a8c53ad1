"""What a search found and how it found it: a page in the terminal, one HTML page, and files for other programs.

The best of many trials is always a good-looking number. All of them put beside it what it has to be seen with: how far
luck alone would have gone, what is left of it one step away, and what happened to all the other trials.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise.optimizer.insight import Importance, state_names
from barwise.optimizer.leaders import Leaders
from barwise.optimizer.plateau import KEEPS
from barwise.optimizer.saving import file_stem, optimization_document
from barwise.optimizer.trials import StageResult
from barwise.report import appendix, statements
from barwise.report.cells import Cell, data_table, money_result, signed
from barwise.report.files import versions, write_together
from barwise.report.markup import Markup, element, joined
from barwise.report.optimization_charts import OptimizationCharts, StageCharts, optimization_charts
from barwise.report.page import NO_SCRIPT, document, figure_block, page_header, section
from barwise.report.parameter_charts import MOST_LEVEL_AXES, slices_note
from barwise.report.sections import card
from barwise.report.text import NOT_AVAILABLE, counted, duration, moment, money, number, percent, price, words
from barwise.report.trial_marks import ROLES, told

if TYPE_CHECKING:
    from barwise.optimizer.engine import OptimizationResult

_MOST_RANKED = 20
_ROLES = " ".join(f"--{role}: {colour};" for role, colour in ROLES.items())
_STYLE = f""":root {{ {_ROLES} }}
.slices {{ --height: 240px; }}
"""
_NOISE = (
    "On noise importances look convincing too: some parameter always seems to decide. They say what told the better of "
    "these trials from the worse on this span, not that anything here is real."
)
_LIMITS = (
    "All of this was measured on the span that was searched. No out-of-sample test was made, so there is no verdict "
    "here: the optimized column is the best of many tries and flatters."
)


# -- The page ----------------------------------------------------------------------------------------------------------


def optimization_page(
    result: "OptimizationResult",
    *,
    written: datetime,
    versions: Mapping[str, str],
    files: Mapping[str, str],
    charts: OptimizationCharts | None = None,
) -> str:
    """The page of one optimization: one HTML file that opens without a network.

    Args:
        result: What to show.
        written: When the page was made.
        versions: What made it, by name.
        files: The other files of the report, as the reader shall find them.
        charts: From `optimization_charts`, where they were made already.

    Raises:
        ConfigError: Nothing was searched yet.
    """
    drawn = optimization_charts(result) if charts is None else charts
    best = result.best
    title = f"{statements.market_name(best)} {best.candles.exchange}: {statements.strategy_name(best)}, optimized"
    body = joined(
        *_notices(result),
        _header(result, written),
        element("main", *_main(result, drawn, versions)),
        appendix.footer(files, written),
    )
    return document(title, body, drawn.all(), _STYLE)


def _notices(result: "OptimizationResult") -> list[Markup]:
    """What must be read before any number."""
    found = []
    if result.candles.synthetic:
        text = "SYNTHETIC: these prices were made up by a program. The result says nothing about any real market."
        found.append(element("p", text, class_="notice synthetic", role="note"))
    if result.interrupted:
        text = "INTERRUPTED: the search was ended before it was done. This is the best of what it had tried by then."
        found.append(element("p", text, class_="notice ruined", role="note"))
    if result.best.ruined:
        found.append(element("p", statements.ruin(result.best), class_="notice ruined", role="note"))
    return found


def _header(result: "OptimizationResult", written: datetime) -> Markup:
    best = result.best
    terms = (
        f"Run {result.run}. Tested from {statements.tested_from(best)} UTC. All times are UTC, all money is quote "
        f"currency, capital {money(best.initial_capital)}. Written {moment(written)}."
    )
    facts = statements.facts(best, f"{statements.strategy_name(best)}, optimized")
    return page_header(statements.market_name(best), [facts], [terms])


def _main(result: "OptimizationResult", charts: OptimizationCharts, versions: Mapping[str, str]) -> list[Markup]:
    """The sections in the order of reading: what came out, how far to trust it, how it was found, all the rest."""
    plateau = [element("p", _plateau_sentence(result))]
    if charts.plateau is not None:
        plateau.append(figure_block(charts.plateau, tall=True))
    if result.top is not None and result.top.rows:
        plateau += [element("h4", "The best configurations side by side"), _leaders_table(result.top)]
    return [
        section(
            "Result",
            _cards(result),
            *(element("p", f"{note[:1].upper()}{note[1:]}") for note in result.notes),
            element("p", _LIMITS, class_="limits muted"),
            element("noscript", NO_SCRIPT),
            _comparison_table(result),
        ),
        section("Parameters", _parameter_table(result)),
        section("Search", figure_block(charts.history, tall=True), _stage_table(result)),
        section("Plateau", *plateau),
        *(_stage_section(stage, drawn) for stage, drawn in zip(result.stages, charts.stages, strict=True)),
        section("Reproducing this", _reproduction_table(result, versions)),
    ]


def _stage_section(stage: StageResult, charts: StageCharts) -> Markup:
    heading = _HEADINGS.get(stage.stage, stage.stage)
    if not stage.space.dimensions:
        return section(heading, element("p", "This stage had nothing to search."))
    parts: list[Markup] = []
    if charts.pareto is not None:
        parts.append(figure_block(charts.pareto))
    if charts.ranking is not None:
        parts += [element("p", _NOISE, class_="limits"), figure_block(charts.ranking)]
    else:
        reason = f"No importance of parameters is shown: {charts.importance.reason}."
        parts.append(element("p", reason, class_="limits muted"))
    if charts.parallel is not None:
        parts.append(figure_block(charts.parallel, tall=len(stage.space.names) >= MOST_LEVEL_AXES))
    if charts.pairs:
        parts += [
            element("h4", "Pairs of the most important parameters"),
            element("p", _pairs_note(stage, charts), class_="muted"),
            element("div", *(figure_block(chart) for chart in charts.pairs), class_="small-charts"),
        ]
    if charts.slices:
        parts += [
            element("h4", "Every parameter by itself"),
            element("p", slices_note(stage), class_="muted"),
            element("div", *(figure_block(chart) for chart in charts.slices), class_="small-charts slices"),
        ]
    return section(heading, *parts, element("h4", "Best trials"), _ranked_table(stage))


_HEADINGS = {
    "7.1": "Stage 7.1, whole numbers",
    "7.2": "Stage 7.2, real numbers",
    "7.3": "Stage 7.3, timeouts of the entry tiers",
    "joint": "All parameters at once",
}


def _pairs_note(stage: StageResult, charts: StageCharts) -> str:
    text = (
        f"Mean {words(stage.objective.names[0])} of the trials in each field, with their number in it. The star is the "
        "chosen point, the rings are the neighbours of the final result."
    )
    if charts.left_out:
        are = "is" if charts.left_out == 1 else "are"
        text += f" {counted(charts.left_out, 'trial')} given up early or without a value {are} in no field."
    return text


# -- Cards and tables --------------------------------------------------------------------------------------------------


def _cards(result: "OptimizationResult") -> Markup:
    """The headline, each figure with what it has to be seen beside."""
    before, after, last = result.baseline, result.best, result.stages[-1]
    name = last.objective.names[0]
    trials = sum(len(stage.trials) for stage in result.stages)
    pruned = sum(stage.pruned for stage in result.stages)
    duplicates = sum(stage.duplicates for stage in result.stages)
    kept = None if result.plateau is None else result.plateau.kept
    bars = sum(int(stage.trials.bars.sum()) for stage in result.stages)
    share = 100.0 * bars / max(1, sum(stage.full_bars for stage in result.stages))
    found: tuple[tuple[str, str, str], ...] = (
        (
            f"{words(name)[:1].upper()}{words(name)[1:]}",
            told(name, last.best_value),
            f"baseline {told(name, result.stages[0].base_value)}",
        ),
        ("Net result", money_result(after.net_pnl), f"baseline {money(before.net_pnl, signed=True)}"),
        ("Max drawdown", percent(after.max_drawdown), f"baseline {percent(before.max_drawdown)}"),
        (
            "Trades",
            f"{after.total_trades:,}",
            f"{percent(after.metrics['win_rate'], 0)} won, baseline {before.total_trades:,}",
        ),
        (
            "Luck alone",
            f"Sharpe {number(result.luck_line)}",
            f"expected best of {counted(result.n_trials, 'configuration')} on record without any edge",
        ),
        (
            "Neighbours as good",
            NOT_AVAILABLE if kept is None else percent(100.0 * kept, 0),
            f"keep {100.0 * KEEPS:.0f} % of the objective one step away",
        ),
        ("Trials", f"{trials:,}", f"{pruned:,} given up early, {duplicates:,} answered from the record"),
        ("Time", _seconds(result.seconds), f"{percent(share, 0)} of the bars of full evaluations"),
    )
    return element("dl", *(card(*shown) for shown in found), class_="cards")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60.0 else duration(round(1000.0 * seconds))


_COMPARED: tuple[tuple[str, str], ...] = (
    ("net_pnl", "money"), ("total_return", "percent"), ("sharpe_ratio", "number"), ("daily_sharpe_ratio", "number"),
    ("sortino_ratio", "number"), ("calmar_ratio", "number"), ("max_drawdown", "percent"), ("profit_factor", "number"),
    ("expectancy", "money"), ("expectancy_r", "number"), ("sqn", "number"), ("win_rate", "percent"),
    ("exposure", "percent"), ("fees", "cost"), ("slippage", "cost"),
)  # fmt: skip


def _comparison_table(result: "OptimizationResult") -> Markup:
    texts: dict[str, Callable[[float | None], str]] = {
        "money": lambda value: money(value, signed=True),
        "cost": money,
        "percent": lambda value: percent(value, 2),
        "number": number,
    }
    sides = (result.baseline, result.best)
    rows = [(words(name), *(texts[kind](side.metrics[name]) for side in sides)) for name, kind in _COMPARED]
    rows.append(("trades", *(f"{side.total_trades:,}" for side in sides)))
    half = -(-len(rows) // 2)
    header = ("<metric", "baseline", "optimized")
    caption = "Both on the span that was searched"
    return element(
        "div",
        data_table(caption, header, rows[:half]),
        data_table(f"{caption} (continued)", header, rows[half:]),
        class_="pair",
    )


def _parameter_table(result: "OptimizationResult") -> Markup:
    """Where each searched parameter started, where it ended, and in which box it was looked for."""
    before, after = result.baseline.strategy, result.strategy
    rows = []
    for stage in result.stages:
        for dimension in stage.space.dimensions:
            old, new = float(getattr(before, dimension.name)), float(getattr(after, dimension.name))
            at_wall = new in (dimension.low, dimension.high) and dimension.high > dimension.low
            change = "unchanged" if old == new else _change(old, new)
            rows.append(
                (
                    dimension.name,
                    stage.stage,
                    price(old),
                    price(new),
                    change,
                    f"{price(dimension.low)} to {price(dimension.high)}",
                    price(dimension.step),
                    Cell("at the wall of its box: a wider one may hold better" if at_wall else "", "long-text"),
                )
            )
    header = ("<parameter", "<stage", "baseline", "optimized", "change", "box", "step", "<note")
    return data_table("All other parameters stayed as they were", header, rows)


def _change(old: float, new: float) -> str:
    """A change, in percent where that has a meaning."""
    return percent(100.0 * (new / old - 1.0), 0, signed=True) if old else f"by {price(new - old)}"


def _stage_table(result: "OptimizationResult") -> Markup:
    rows = []
    for stage in result.stages:
        name, states = stage.objective.names[0], state_names(stage.trials)
        bars = 100.0 * float(stage.trials.bars.sum()) / max(1, stage.full_bars)
        rows.append(
            (
                stage.stage,
                stage.sampler,
                f"{len(stage.trials):,}",
                f"{stage.pruned:,}",
                f"{states.count('infeasible'):,}",
                f"{states.count('undefined'):,}",
                f"{stage.duplicates:,}",
                percent(bars, 0),
                told(name, stage.base_value),
                told(name, stage.best_value),
                _seconds(stage.seconds),
                _seconds(stage.sampler_seconds),
            )
        )
    header = (
        "<stage", "<sampler", "trials", "given up", "guard broken", "no value", "on record", "bars", "started at",
        "ended at", "time", "sampler",
    )  # fmt: skip
    caption = (
        f"The stages, by {words(result.stages[0].objective.names[0])}. Given up: pruned at a rung. On record: answered "
        "without a simulation. Bars: share of what full evaluations cost. Sampler: its part of the time"
    )
    return data_table(caption, header, rows)


def _ranked_table(stage: StageResult) -> Markup:
    """The best trials of a stage, the chosen one and the start marked."""
    trials, objective, summaries = stage.trials, stage.objective, stage.trials.summaries
    ranked = trials.ranked.tolist()
    rows = ranked[:_MOST_RANKED]
    rows += [row for row in dict.fromkeys((stage.chosen, 0)) if row not in rows and trials.complete[row]]
    table = []
    for row in rows:
        roles = [text for text, at in (("chosen", stage.chosen), ("start", 0)) if at == row]
        roles += ["guard broken"] if trials.violation[row] > 0.0 else []
        net = float(summaries["net_pnl"][row])
        table.append(
            (
                f"{ranked.index(row) + 1:,}",
                ", ".join(roles),
                *(told(name, float(trials.reported[row, at])) for at, name in enumerate(objective.names)),
                f"{int(summaries['trades'][row]):,}",
                signed(net, money(net, signed=True)),
                percent(100.0 * float(summaries["max_drawdown"][row])),
                *(price(float(value)) for value in stage.space.values(trials.points[row]).values()),
            )
        )
    header = ("<rank", "<", *map(words, objective.names), "trades", "net result", "drawdown", *stage.space.names)
    complete = int(trials.complete.sum())
    caption = f"The best {min(_MOST_RANKED, complete):,} of {counted(complete, 'trial')} that were run to the end"
    return data_table(f"{caption}; the CSV file has all", header, table, long=True)


def _leaders_table(top: Leaders) -> Markup:
    """The best of all stages, with what is left of each a step away and in every third of the span."""
    table = [
        (
            f"{row.rank:,}",
            "chosen" if row.chosen else "",
            *(told(name, value) for name, value in zip(top.names, row.reported, strict=True)),
            f"{row.trades:,}",
            signed(row.net_pnl, money(row.net_pnl, signed=True)),
            percent(row.max_drawdown),
            NOT_AVAILABLE if row.kept is None else percent(100.0 * row.kept, 0),
            *(number(value) for value in row.thirds),
            *(price(float(value)) for value in row.parameters.values()),
        )
        for row in top.rows
    ]
    header = (
        "<rank", "<", *map(words, top.names), "trades", "net result", "drawdown", "steps kept", "Sharpe, first third",
        "second third", "last third", *top.rows[0].parameters,
    )  # fmt: skip
    caption = (
        f"The best {counted(len(table), 'different result')} of all stages. Steps kept: of the neighbours one step "
        f"away in one parameter, those that keep {100.0 * KEEPS:.0f} % of the {words(top.names[0])}"
    )
    return data_table(caption, header, table, long=True)


def _plateau_sentence(result: "OptimizationResult") -> str:
    plateau, name = result.plateau, result.stages[0].objective.names[0]
    if plateau is None:
        return "Nothing was searched, so there is no neighbourhood."
    if plateau.undefined == len(plateau.points):
        return f"None of {counted(plateau.undefined, 'neighbour')} has a value: no trade, or a broken guard."
    sign = -1.0 if result.stages[0].objective.directions[0] == "minimize" else 1.0

    def shown(value: float | None) -> str:
        return NOT_AVAILABLE if value is None else told(name, sign * value)

    text = (
        f"One step in one parameter, or in two at once, makes {counted(len(plateau.points), 'neighbour')} of the "
        f"result. Its {words(name)} is {shown(plateau.value)}; theirs is {shown(plateau.median)} in the median, "
        f"{shown(plateau.mean)} in the mean and {shown(plateau.worst)} at worst."
    )
    if plateau.undefined:
        have = "has" if plateau.undefined == 1 else "have"
        text += f" {plateau.undefined:,} of them {have} no value and count as lost."
    if plateau.best is not None and plateau.best > plateau.value:
        text += (
            f" The best of them has {shown(plateau.best)}, more than the result: it lies outside the box, or the "
            "search passed it over or gave it up early."
        )
    return f"{text} What falls off one step away was a peak in the noise; what was really there has a plateau."


def _reproduction_table(result: "OptimizationResult", versions: Mapping[str, str]) -> Markup:
    rows = [
        ("candles", result.candles.label),
        ("fingerprint of the candles", result.candles.fingerprint),
        ("run", result.run),
        ("configurations on record for these candles", f"{result.n_trials:,}"),
        ("objective", result.stages[0].objective.label),
        ("rungs, share of the bars", ", ".join(percent(100.0 * level, 0) for level in result.stages[0].levels)),
        *versions.items(),
    ]
    return data_table("What the search can be made from again", ("<", "<"), rows)


# -- Files -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OptimizationReport:
    """The files of one optimization; see docs/optimization-report.md for what is in them."""

    json: Path
    html: Path
    trials_csv: Path


def write_optimization(
    result: "OptimizationResult", home: Path, *, written: datetime | None = None
) -> OptimizationReport:
    """Write an optimization below the home folder as JSON, HTML and CSV: all of them or none.

    Args:
        result: What to write.
        home: The folder that holds `data/`. Files of the same run are replaced.
        written: When the report was written, aware; by default now.

    Raises:
        ConfigError: Nothing was searched yet.
        DataError: A file cannot be written; none that was written before it is left behind.
    """
    data, stem = Path(home) / "data", file_stem(result)
    places = {
        "json": data / "results" / f"{stem}.json",
        "html": data / "results" / f"{stem}.html",
        "trials_csv": data / "exports" / f"{stem}-trials.csv",
    }
    charts = optimization_charts(result)
    content = optimization_document(result)
    content["importance"] = {
        stage.stage: _importance_dict(one.importance) for stage, one in zip(result.stages, charts.stages, strict=True)
    }
    names = {kind: path.relative_to(home).as_posix() for kind, path in places.items()}
    when = (written or datetime.now(UTC)).astimezone(UTC)
    contents = {
        "json": json.dumps(content, allow_nan=False),
        "html": optimization_page(result, written=when, versions=versions(), files=names, charts=charts),
        "trials_csv": result.frame().write_csv(),
    }
    write_together({places[kind]: text for kind, text in contents.items()})
    return OptimizationReport(**places)


def _importance_dict(found: Importance) -> dict[str, Any]:
    return {
        "method": found.method,
        "shares": dict(found.shares),
        "low": dict(found.low),
        "high": dict(found.high),
        "trials": found.used,
        "reason": found.reason or None,
    }
