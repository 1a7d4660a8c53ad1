"""The charts of a verdict as plain Plotly specifications: what was found, and what would have been found by luck.

Each has its message with the figures as title. What is not there has no chart: the page says why instead.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.core.layout import FloatArray
from barwise.errors import ConfigError
from barwise.optimizer.objective import Objective
from barwise.report.charts import Chart, Trace, compact, evenly, extremes, time_axis
from barwise.report.text import counted, day, money, number, percent, words
from barwise.timeframe import DAY_MS

if TYPE_CHECKING:
    from barwise.stats.monte_carlo import Distribution, Paths, Reshuffle
    from barwise.stats.overfitting import PBO
    from barwise.validation.engine import ValidationReport
    from barwise.validation.permutation import PermutationTest
    from barwise.validation.walk_forward import WalkForwardResult, WindowResult

_BINS = 24
_EQUITY_BUCKETS = 800
_MOST_SPLITS = 1_000
_MOST_LABELS = 30  # of bars, before trade counts run into each other
_LEVELS = ((5, 95, "@band"), (25, 75, "@band-inner"))


def _line(x: float, color: str, **line: Any) -> dict[str, Any]:
    """An upright line over the whole height."""
    style = {"color": color, "width": 2, **line}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": style}


def _label(x: float, text: str, *, left: bool) -> dict[str, Any]:
    """The text beside the top of an upright line: above it stand the legend and the buttons."""
    return {
        "x": x, "y": 1, "yref": "paper", "yanchor": "top", "text": text, "showarrow": False, "bgcolor": "@page",
        "xanchor": "right" if left else "left", "xshift": -5 if left else 5,
    }  # fmt: skip


def _bars(name: str, color: str, edges: Sequence[float], counts: Sequence[int], unit: str) -> Trace:
    """A histogram whose bins are known."""
    middles = [(low + high) / 2.0 for low, high in pairwise(edges)]
    widths = [high - low for low, high in pairwise(edges)]
    return {
        "type": "bar",
        "name": name,
        "x": compact(middles),
        "y": list(counts),
        "width": compact(width or 1.0 for width in widths),
        "customdata": [compact(pair) for pair in pairwise(edges)],
        "marker": {"color": color, "line": {"color": "@page", "width": 1}},
        "hovertemplate": f"%{{y}} from %{{customdata[0]:.3~f}} to %{{customdata[1]:.3~f}}{unit}<extra>{name}</extra>",
    }


# -- Luck --------------------------------------------------------------------------------------------------------------


def luck_chart(report: "ValidationReport") -> Chart:
    """What was found, in-sample and out-of-sample, on one axis with what luck alone reaches."""
    evidence = report.decision.evidence
    rows: list[tuple[str, float, str, tuple[float, float] | None]] = []
    if evidence.oos_sharpe is not None:
        interval = None
        if report.paths is not None and report.paths.sharpe_ratio.percentiles:
            found = report.paths.sharpe_ratio.percentiles
            interval = (found[5], found[95])
        rows.append(("out-of-sample", evidence.oos_sharpe, "@outside", interval))
    inside = report.intervals.get("sharpe_ratio")
    interval = (inside.low, inside.high) if inside is not None else None
    rows.append(("in-sample, chosen", evidence.annual_sharpe, "@inside", interval))
    data: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": compact([value]),
            "y": [f"{name} {number(value)}"],
            "width": 0.5,
            "marker": {"color": color},
            "error_x": _whiskers(value, ends),
            "hovertemplate": "%{y}<extra></extra>",
        }
        for name, value, color, ends in rows
    ]
    luck = report.luck_line
    reach = [0.0, luck, *(value for _, value, _, _ in rows), *(end for *_, ends in rows for end in ends or ())]
    low, high = min(reach), max(reach)
    room = 0.06 * (high - low) or 1.0
    layout: dict[str, Any] = {
        "showlegend": False,
        "xaxis": {"title": {"text": "Sharpe ratio, annual"}, "range": compact((low - room, high + room))},
        "yaxis": {"type": "category"},
        "shapes": [_line(luck, "@luck", dash="dash")],
        "annotations": [_label(luck, f"luck alone: {number(luck)}", left=2.0 * luck > low + high)],
    }
    than = "more than" if evidence.annual_sharpe > luck else "no more than"
    title = f"The Sharpe ratio found, {number(evidence.annual_sharpe)}, is {than} luck alone reaches"
    note = "Whiskers: the middle 95 % (in-sample) and 90 % (out-of-sample) of bootstrap samples."
    return Chart("luck", title, note, data, layout)


def _whiskers(value: float, ends: tuple[float, float] | None) -> dict[str, Any]:
    if ends is None or not all(map(math.isfinite, ends)):
        return {"visible": False}
    up, down = (max(0.0, ends[1] - value), max(0.0, value - ends[0]))
    return {
        "type": "data", "symmetric": False, "array": compact([up]), "arrayminus": compact([down]), "color": "@ink",
        "thickness": 1.5, "width": 6,
    }  # fmt: skip


# -- Permutation test --------------------------------------------------------------------------------------------------


def permutation_chart(test: "PermutationTest") -> Chart | None:
    """Best of each shuffled market, the real one as a line; None where no shuffled market has a value."""
    found = test.nulls[np.isfinite(test.nulls)]
    if not found.size or not math.isfinite(test.real):
        return None
    sign = _sign(test.objective)
    real, values = sign * test.real, sign * found
    low, high = min(float(values.min()), real), max(float(values.max()), real)
    edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, high + 0.5])
    room = 0.03 * float(np.ptp(edges))
    as_good = found >= test.real
    data = [
        _bars(name, color, edges.tolist(), np.histogram(values[rows], edges)[0].tolist(), "")
        for name, color, rows in (("worse than here", "@muted", ~as_good), ("at least as good", "@luck", as_good))
        if rows.any()
    ]
    layout: dict[str, Any] = {
        "showlegend": True,
        "barmode": "stack",
        "bargap": 0,
        "xaxis": {
            "title": {"text": f"best {html.escape(words(test.objective))} of each search"},
            "range": compact((float(edges[0]) - room, float(edges[-1]) + room)),
        },
        "yaxis": {"title": {"text": "shuffled markets"}, "rangemode": "tozero"},
        "shapes": [_line(real, "@chosen")],
        "annotations": [_label(real, f"this market: {number(real)}", left=2.0 * real > low + high)],
    }
    if len(found) <= 10:  # so few that an axis would show halves of markets
        layout["yaxis"]["dtick"] = 1
    done = counted(len(test.nulls), "shuffled market")
    title = f"{test.beaten:,} of {done} gave the same search at least as much: p = {number(test.p_value, 3)}"
    notes = ["Every move of this market is in each of them, in another order: nothing there can be predicted."]
    if test.stopped_early:
        notes.append(
            f"The test ended after {len(test.nulls):,} of {test.planned:,}: enough had done as well to settle it."
        )
    nothing = len(test.nulls) - found.size
    if nothing:
        notes.append(f"On {counted(nothing, 'shuffled market')} no trial kept the guards: counted, not drawn.")
    return Chart("permutation", title, " ".join(notes), data, layout)


def _sign(objective: str) -> float:
    """-1 where less is better: the test holds what it compares, where more is."""
    try:
        return -1.0 if Objective.of(objective).directions == ("minimize",) else 1.0
    except ConfigError:  # a function of the user's own
        return 1.0


# -- Walk-forward ------------------------------------------------------------------------------------------------------


def window_chart(walked: "WalkForwardResult") -> Chart:
    """In-sample and out-of-sample Sharpe ratio of each window, with its out-of-sample trades."""
    windows = walked.windows
    names = [str(window.number) for window in windows]
    spans = [f"{day(window.window.oos_start)} .. {day(window.window.oos_end)}" for window in windows]
    trades = [0 if window.out_of_sample is None else window.out_of_sample.total_trades for window in windows]
    faint = [1.0 if window.scored else 0.35 for window in windows]
    data: list[Trace] = []
    for name, part, color in (("in-sample", "in_sample", "@inside"), ("out-of-sample", "out_of_sample", "@outside")):
        data.append(
            {
                "type": "bar",
                "name": name,
                "x": names,
                "y": [_sharpe(window, part) for window in windows],
                "marker": {"color": color, "opacity": faint},
                "customdata": [list(pair) for pair in zip(spans, trades, strict=True)],
                "hovertemplate": "window %{x}, %{customdata[0]}<br>%{y:.2f}, %{customdata[1]} out-of-sample trades",
            }
        )
    if len(windows) <= _MOST_LABELS:
        data[1] |= {"text": [str(count) for count in trades], "textposition": "outside", "cliponaxis": False}
    layout = {
        "showlegend": True,
        "barmode": "group",
        "hovermode": "closest",
        "bargap": 0.3,
        "xaxis": {"title": {"text": "window"}, "type": "category"},
        "yaxis": {"title": {"text": "Sharpe ratio, annual"}, "zeroline": True},
    }
    scored = walked.scored
    inside, outside = ([_sharpe(window, part) for window in scored] for part in ("in_sample", "out_of_sample"))
    if scored:
        known = [[value for value in values if value is not None] for values in (inside, outside)]
        mean = [number(float(np.mean(values)) if values else None) for values in known]
        title = f"From {mean[0]} in-sample to {mean[1]} out-of-sample, in the mean of {counted(len(scored), 'window')}"
    else:
        title = "No window has enough trades to be scored"
    notes = []
    if len(windows) <= _MOST_LABELS:
        notes.append("Numbers: out-of-sample trades.")
    if len(scored) < len(windows):
        notes.append(
            f"Faint: not scored, with fewer than {walked.config.min_trades_per_window} trades or not searched. "
            "They are in the equity curve."
        )
    return Chart("windows", title, " ".join(notes), data, layout)


def _sharpe(window: "WindowResult", part: str) -> float | None:
    result = getattr(window, part)
    value = None if result is None else result.metrics["sharpe_ratio"]
    return None if value is None or not math.isfinite(value) else compact([value])[0]


def stitched_chart(walked: "WalkForwardResult") -> Chart | None:
    """The out-of-sample pieces as one equity curve, every other window shaded; None without a single bar."""
    if not len(walked.equity):
        return None
    candles = walked.candles
    kept = extremes((walked.equity,), _EQUITY_BUCKETS)
    time = (candles.time[walked.bars] + candles.timeframe.ms)[kept].tolist()
    data: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "out-of-sample equity",
            "x": time,
            "y": compact(walked.equity[kept].tolist()),
            "line": {"color": "@outside", "width": 1.8},
            "hovertemplate": "%{y:,.2f}<extra></extra>",
        }
    ]
    start = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": walked.capital, "y1": walked.capital}
    layout = {
        "showlegend": False,
        "hovermode": "x unified",
        "xaxis": time_axis(candles, hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": {"title": {"text": "equity (quote currency)", "standoff": 14}},
        "shapes": [*_shades(walked), {**start, "line": {"color": "@muted", "width": 1, "dash": "dot"}}],
    }
    net = float(walked.equity[-1]) - walked.capital
    ratio, trades = walked.metrics["sharpe_ratio"], counted(len(walked.trades), "trade")
    title = f"Out-of-sample {money(net, signed=True)} with {trades}: a Sharpe ratio of {number(ratio)}"
    if not walked.reoptimized:
        title = (
            f"One given configuration made {money(net, signed=True)} with {trades}: a Sharpe ratio of {number(ratio)}"
        )
    note = "Every other window is shaded."
    if len(kept) < len(walked.equity):
        note += f" {len(kept):,} of {len(walked.equity):,} bars are drawn, every high and low among them."
    return Chart("stitched", title, note, data, layout)


def _shades(walked: "WalkForwardResult") -> list[dict[str, Any]]:
    """A shade behind every other piece."""
    candles, found = walked.candles, []
    for piece in walked.pieces[::2]:
        x0 = int(candles.time[piece.trade_from])
        x1 = int(piece.candles.time[-1]) + candles.timeframe.ms
        found.append(
            {
                "type": "rect", "x0": x0, "x1": x1, "y0": 0, "y1": 1, "yref": "paper", "fillcolor": "@grid",
                "line": {"width": 0}, "layer": "below",
            }
        )  # fmt: skip
    return found


def drift_charts(walked: "WalkForwardResult") -> list[Chart]:
    """Each parameter that ever changed, as steps over the windows."""
    starts = [day(window.window.oos_start) for window in walked.windows]
    end = day(walked.windows[-1].window.oos_end)
    found = []
    for name, values in walked.drift.items():
        steps: Trace = {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [*starts, end],
            "y": compact([*values, values[-1]]),
            "line": {"color": "@outside", "width": 1.8, "shape": "hv"},
            "hovertemplate": "%{y}<extra></extra>",
        }
        layout = {"showlegend": False, "xaxis": {"type": "date", "nticks": 5}, "yaxis": {"nticks": 6}}
        title = f"{name}: {min(values):.4g} to {max(values):.4g}"
        found.append(Chart(f"drift-{name}", title, "", [steps], layout))
    return found


# -- Overfitting of the search -----------------------------------------------------------------------------------------


def logit_chart(found: "PBO") -> Chart:
    """Where the best of one half of the data ranks in the other half."""
    values = found.logits
    reach = max(float(np.abs(values).max()), 1.0)
    edges = np.linspace(-reach, reach, _BINS + 1)
    data = [
        _bars(name, color, edges.tolist(), np.histogram(values[rows], edges)[0].tolist(), "")
        for name, color, rows in (
            ("below the middle", "@loss", values <= 0.0),
            ("above the middle", "@gain", values > 0.0),
        )
        if rows.any()
    ]
    layout = {
        "showlegend": True,
        "barmode": "stack",
        "bargap": 0,
        "xaxis": {"title": {"text": "logit of its rank in the other half"}},
        "yaxis": {"title": {"text": "splits"}, "rangemode": "tozero"},
        "shapes": [_line(0.0, "@ink", width=1)],
    }
    title = f"The best of one half is below the middle of the other in {percent(100.0 * found.pbo, 0)} of the splits"
    note = (
        f"{found.splits:,} splits of {counted(found.trials, 'trial')} in {found.blocks} blocks. Without any edge it is "
        "about half; only 10 % or less says something."
    )
    return Chart("logits", title, note, data, layout)


def degradation_chart(found: "PBO", bars_per_year: float) -> Chart:
    """What the chosen trial had in one half against what it had in the other, with the line through the points."""
    scale = math.sqrt(bars_per_year)
    rows = evenly(found.splits, _MOST_SPLITS)
    x, y = scale * found.in_sample_best, scale * found.out_of_sample
    data: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "splits",
            "x": compact(x[rows].tolist()),
            "y": compact(y[rows].tolist()),
            "marker": {"color": "@done", "size": 5, "opacity": 0.5},
            "hovertemplate": "%{x:.2f} in one half, %{y:.2f} in the other<extra></extra>",
        }
    ]
    if math.isfinite(found.slope):
        ends = np.array([x.min(), x.max()])
        line = found.slope * ends + scale * found.intercept
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "least squares",
                "x": compact(ends.tolist()),
                "y": compact(line.tolist()),
                "line": {"color": "@ink", "width": 1.8},
                "hoverinfo": "skip",
            }
        )
    layout = {
        "showlegend": True,
        "hovermode": "closest",
        "xaxis": {"title": {"text": "Sharpe ratio where it was chosen, annual"}},
        "yaxis": {"title": {"text": "in the other half"}, "zeroline": True},
    }
    worse = math.isfinite(found.slope) and found.slope < 0.0
    title = f"The chosen trial loses in the other half in {percent(100.0 * found.probability_of_loss, 0)} of the splits"
    note = "The better it looked, the worse it went." if worse else ""
    if len(rows) < found.splits:
        note += f" {len(rows):,} of {found.splits:,} splits are drawn, evenly spread; the line is that of all."
    return Chart("degradation", title, note.strip(), data, layout)


def path_chart(sharpes: FloatArray) -> Chart | None:
    """The Sharpe ratio of each cross-validated path, with 0 and their median; None where no path traded.

    Args:
        sharpes: Annual, one of each path.
    """
    if not sharpes.any():
        return None
    middle = float(np.median(sharpes))
    low, high = min(0.0, float(sharpes.min())), max(0.0, float(sharpes.max()))
    room = 0.08 * (high - low)
    numbers = np.arange(1, len(sharpes) + 1)
    data: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": compact(sharpes[rows].tolist()),
            "y": numbers[rows].tolist(),
            "marker": {"color": color, "size": 11},
            "hovertemplate": "path %{y}: %{x:.2f}<extra></extra>",
        }
        for name, color, rows in (("0 or less", "@loss", sharpes <= 0.0), ("above 0", "@gain", sharpes > 0.0))
        if rows.any()
    ]
    layout: dict[str, Any] = {
        "showlegend": True,
        "xaxis": {"title": {"text": "Sharpe ratio, annual"}, "range": compact((low - room, high + room))},
        # Path 1 at the top, as in a list, and half a row of room above and below.
        "yaxis": {
            "title": {"text": "path"}, "tickvals": numbers.tolist(), "range": [len(sharpes) + 0.7, 0.3],
        },
        "shapes": [_line(0.0, "@ink", width=1), _line(middle, "@outside", dash="dash")],
        "annotations": [_label(middle, f"median: {number(middle)}", left=2.0 * middle > low + high)],
    }  # fmt: skip
    paths = counted(len(sharpes), "cross-validated path")
    title = f"In {int((sharpes > 0.0).sum())} of {paths} the Sharpe ratio is above 0; its median is {number(middle)}"
    note = (
        "Each path is the whole span, put together from test parts; in each, the configuration with the best Sharpe "
        "ratio of the training parts was traded. Dots on both sides of 0 say that what is chosen depends on where one "
        "looks."
    )
    return Chart("cross-validated", title, note, data, layout)


# -- Monte Carlo -------------------------------------------------------------------------------------------------------


def fan_chart(paths: "Paths", walked: "WalkForwardResult") -> Chart:
    """How else the out-of-sample returns could have come."""
    days = compact(walked.candles.timeframe.ms / DAY_MS * point for point in paths.points)
    data: list[Trace] = []
    for low, high, color in _LEVELS:
        edge = {"type": "scatter", "mode": "lines", "x": days, "line": {"width": 0, "color": color}}
        data += [
            {**edge, "y": compact(paths.fan[low]), "showlegend": False, "hoverinfo": "skip"},
            {
                **edge,
                "y": compact(paths.fan[high]),
                "name": f"{low} to {high} % of the paths",
                "fill": "tonexty",
                "fillcolor": color,
                "hoverinfo": "skip",
            },
        ]
    for name, values, color, dash in (
        ("median path", paths.fan[50], "@muted", "dot"),
        ("what happened", paths.observed, "@outside", "solid"),
    ):
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": days, "y": compact(values),
                "line": {"color": color, "width": 1.8, "dash": dash}, "hovertemplate": "%{y:.3f}",
            }
        )  # fmt: skip
    layout = {
        "showlegend": True,
        "hovermode": "x unified",
        "xaxis": {"title": {"text": "days traded out-of-sample"}},
        "yaxis": {"title": {"text": "equity, start = 1", "standoff": 14}},
    }
    deep = percent(paths.max_drawdown.percentiles.get(95))
    title = (
        f"{percent(paths.loss_probability, 0)} of {paths.resamples:,} other histories end below their start; one in "
        f"twenty falls by {deep} or more"
    )
    note = (
        f"Blocks of the out-of-sample returns, {number(paths.block, 0)} bars long in the mean, drawn again. "
        f"{percent(paths.ruin_probability)} of them lose half of the money at some time."
    )
    return Chart("fan", title, note, data, layout)


def drawdown_chart(found: "Reshuffle") -> Chart:
    """Drawdowns of the same trades in other orders."""
    spread: Distribution = found.drawdown
    deep, real = spread.percentiles[95], found.observed_drawdown
    layout = {
        "showlegend": False,
        "bargap": 0,
        "xaxis": {"title": {"text": "deepest drawdown of closed trades (%)"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "orders"}, "rangemode": "tozero"},
        "shapes": [_line(real, "@chosen"), _line(deep, "@ink", dash="dot")],
        "annotations": [
            _label(real, "what happened", left=real < deep),
            _label(deep, "95 %", left=real >= deep),
        ],
    }
    title = f"The same trades in other orders: one in twenty falls by {percent(deep)} or more; {percent(real)} happened"
    note = (
        f"{found.resamples:,} orders of {counted(found.trades, 'trade')}; the final equity is the same in all of them."
    )
    return Chart("drawdowns", title, note, [_bars("orders", "@done", spread.edges, spread.counts, " %")], layout)


# -- All ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WalkCharts:
    """The charts of a walk-forward."""

    windows: Chart
    stitched: Chart | None
    drift: tuple[Chart, ...]

    def all(self) -> list[Chart]:
        """In the order of the page."""
        return [chart for chart in (self.windows, self.stitched, *self.drift) if chart is not None]


@dataclass(frozen=True)
class ValidationCharts:
    """The charts of a verdict's page, None where there is nothing to draw."""

    luck: Chart
    permutation: Chart | None
    walk: WalkCharts | None
    logits: Chart | None
    degradation: Chart | None
    fan: Chart | None
    drawdowns: Chart | None
    cross_validated: Chart | None = None

    def all(self) -> list[Chart]:
        """In the order of the page."""
        walk = [] if self.walk is None else self.walk.all()
        search = [self.logits, self.degradation, self.cross_validated]
        found = [self.luck, self.permutation, *walk, *search, self.fan, self.drawdowns]
        return [chart for chart in found if chart is not None]


def walk_charts(walked: "WalkForwardResult") -> WalkCharts:
    """Every chart of a walk-forward."""
    return WalkCharts(window_chart(walked), stitched_chart(walked), tuple(drift_charts(walked)))


def validation_charts(report: "ValidationReport") -> ValidationCharts:
    """Every chart of a verdict; `optimization_charts.plotly_figure` makes figures of them."""
    walked, pbo, candles = report.walked, report.selection.pbo, report.candles
    return ValidationCharts(
        luck=luck_chart(report),
        permutation=None if report.permutation is None else permutation_chart(report.permutation),
        walk=None if walked is None else walk_charts(walked),
        logits=None if pbo is None else logit_chart(pbo),
        degradation=None if pbo is None else degradation_chart(pbo, candles.timeframe.bars_per_year(candles.calendar)),
        fan=None if report.paths is None or walked is None else fan_chart(report.paths, walked),
        drawdowns=None if report.reshuffled is None else drawdown_chart(report.reshuffled),
        cross_validated=path_chart(report.selection.path_sharpes),
    )
