"""The report of a search: its numbers are the result's, no trial vanishes unsaid, and it is whole or absent."""

import html
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from rich.console import Console

from barwise.config import OptimizationConfig
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.optimizer.insight import history, importance, pair_map
from barwise.optimizer.trials import StageResult, Trials
from barwise.report.charts import Chart
from barwise.report.files import versions
from barwise.report.optimization import optimization_page, write_optimization
from barwise.report.optimization_charts import (
    OptimizationCharts,
    history_chart,
    importance_chart,
    optimization_charts,
    plateau_chart,
    plotly_figure,
)
from barwise.report.optimization_terminal import print_optimization
from barwise.report.parameter_charts import MOST_LEVEL_AXES, pair_chart, parallel_chart, slice_chart, slices_note
from barwise.report.trial_marks import MOST_POINTS
from barwise.stats.sharpe import expected_maximum
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.test_report_browser import NAMES, Browser

WRITTEN = datetime(2025, 4, 1, 12, 4, 5, tzinfo=UTC)
SIX_MEGABYTES = 6_000_000


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles(start="2024-01-01", end="2024-04-01")


Search = Callable[..., OptimizationResult]


@pytest.fixture(scope="module")
def search(candles: Candles, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A real search with a ledger of its own."""

    def run(*, joint: bool = False, **settings: Any) -> OptimizationResult:
        storage = str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
        config = OptimizationConfig(
            **{"num_trials": 60, "workers": 1, "min_rung_trades": 0, "storage": storage, **settings}
        )
        return optimize(candles, EmaRsiAtr(enable_rsi_filter=False), 0.5, config=config, joint=joint)

    return run


@pytest.fixture(scope="module")
def result(search: Search) -> OptimizationResult:
    """Three stages with halving; some trials break the guard."""
    return search(num_trials=100, min_trades=18)


@pytest.fixture(scope="module")
def charts(result: OptimizationResult) -> OptimizationCharts:
    return optimization_charts(result)


@pytest.fixture(scope="module")
def fronts(search: Search) -> OptimizationResult:
    """Two objectives, all parameters at once."""
    return search(joint=True, optuna_sampler="NSGA2", num_trials=150, objective=("sharpe_ratio", "max_drawdown"))


def page_of(result: OptimizationResult) -> str:
    return optimization_page(result, written=WRITTEN, versions=versions(), files={"json": "x.json"})


def marks(chart: Chart) -> int:
    """Marks of trials in a scatter chart."""
    return sum(len(trace["x"]) for trace in chart.data if trace["mode"] == "markers" and trace["name"] != "chosen")


def many(stage: StageResult, count: int) -> StageResult:
    """A stage whose trials are repeated until they are `count`; the base and the chosen one stay where they are."""
    rows = np.concatenate([np.arange(len(stage.trials)), np.arange(count - len(stage.trials)) % len(stage.trials)])
    trials = stage.trials.taken(rows)
    return replace(stage, trials=trials)


def changed(stage: StageResult, **columns: Any) -> StageResult:
    trials = stage.trials
    names = Trials.__dataclass_fields__
    return replace(stage, trials=Trials(**{name: columns.get(name, getattr(trials, name)) for name in names}))


# -- Charts ------------------------------------------------------------------------------------------------------------


def test_plotly_takes_every_chart_and_no_role_is_left(charts: OptimizationCharts, fronts: OptimizationResult) -> None:
    every = [*charts.all(), *optimization_charts(fronts).all()]
    assert len({chart.name for chart in charts.all()}) == len(charts.all()) > 15
    for chart in every:
        for dark in (False, True):
            text = plotly_figure(chart, dark=dark).to_json()
            assert '"@' not in text, chart.name


def test_every_trial_of_a_search_is_a_mark_of_its_history(result: OptimizationResult) -> None:
    trials = sum(len(stage.trials) for stage in result.stages)
    chart = history_chart(history(result.stages), result.stages)
    assert marks(chart) == trials
    drawn = sorted(x for trace in chart.data if trace["mode"] == "markers" for x in trace["x"])
    assert drawn == list(range(1, trials + 1))
    counted = sum(stage.pruned for stage in result.stages)
    assert f"{counted} trials given up early" in chart.note


def test_trials_without_a_value_stand_at_the_edge_of_the_history_and_are_counted(result: OptimizationResult) -> None:
    stage = result.stages[0]
    reported = stage.trials.reported.copy()
    reported[5:8] = np.nan
    empty = changed(stage, reported=reported, values=reported)
    chart = history_chart(history([empty]), [empty])
    assert marks(chart) == len(stage.trials)
    [edge] = [trace for trace in chart.data if trace["name"] == "without a value"]
    assert edge["x"] == [6, 7, 8]
    low, high = chart.layout["yaxis"]["range"]
    assert all(low < y < low + 0.1 * (high - low) for y in edge["y"])
    assert "3 trials without a value" in chart.note


def test_of_very_many_trials_the_same_5000_are_drawn_and_the_caption_says_so(result: OptimizationResult) -> None:
    stage = many(result.stages[0], 7_000)
    chart = history_chart(history([stage]), [stage])
    assert marks(chart) == MOST_POINTS
    assert "5,000 of 7,000 trials are drawn" in chart.note
    assert history_chart(history([stage]), [stage]) == chart
    assert "1,000 of 7,000 trials are drawn" in slices_note(stage)
    assert marks(slice_chart(stage, "ema_fast")) == 1_000
    parallel = parallel_chart(stage)
    assert parallel is not None
    assert re.search(r"\d+ of [\d,]+ trials are drawn", parallel.note)


def test_the_best_so_far_of_a_thinned_history_follows_all_trials(result: OptimizationResult) -> None:
    stage = many(result.stages[0], 7_000)
    reported = stage.trials.reported.copy()
    complete = np.flatnonzero(stage.trials.complete & (stage.trials.violation == 0.0))
    at = int(complete[complete > 5_000][0])
    reported[at] = 99.0
    peak = changed(stage, reported=reported, values=reported)
    [line] = [trace for trace in history_chart(history([peak]), [peak]).data if trace["name"] == "best so far"]
    assert dict(zip(line["x"], line["y"], strict=True))[at + 1] == 99.0
    assert line["x"][-1] == 7_000


def test_a_trial_far_away_does_not_squeeze_the_others_and_is_counted(result: OptimizationResult) -> None:
    stage = many(result.stages[0], 400)
    reported = stage.trials.reported.copy()
    reported[50] = -900.0
    far = changed(stage, reported=reported, values=reported)
    chart = history_chart(history([far]), [far])
    assert chart.layout["yaxis"]["range"][0] > -100.0
    assert "1 trial lies outside the frame: a double click shows all." in chart.note
    assert "1 trial lies outside the frame" in slices_note(far)


def test_the_luck_line_ends_where_the_trials_end_and_is_drawn_for_sharpe_only(
    result: OptimizationResult, charts: OptimizationCharts, search: Search
) -> None:
    [luck] = [trace for trace in charts.history.data if trace["name"] == "luck alone"]
    assert luck["x"][-1] == sum(len(stage.trials) for stage in result.stages)
    assert (np.diff(luck["y"]) >= 0.0).all()
    distinct = history(result.stages).configurations[-1]
    years = len(result.candles) / 8_760
    assert luck["y"][-1] == pytest.approx(expected_maximum(int(distinct)) / years**0.5)
    # The card counts the neighbours of the result as well.
    assert luck["y"][-1] < result.luck_line
    assert "by luck" in charts.history.title
    other = optimization_charts(search(objective="net_pnl", num_trials=5))
    assert "luck" not in f"{other.history.title}{other.history.note}".lower()
    assert "luck alone" not in [trace["name"] for trace in other.history.data]


def test_a_second_search_on_the_same_data_begins_higher_on_the_luck_line(candles: Candles, tmp_path: Path) -> None:
    def first_luck(seed: int) -> float:
        config = OptimizationConfig(num_trials=30, workers=1, storage=str(tmp_path / "ledger.sqlite"), seed=seed)
        found = optimize(candles, EmaRsiAtr(enable_rsi_filter=False), 0.5, config=config)
        [luck] = [trace for trace in optimization_charts(found).history.data if trace["name"] == "luck alone"]
        return float(luck["y"][0])

    assert first_luck(1) < first_luck(2)


def test_an_importance_chart_has_the_shares_and_their_ranges(result: OptimizationResult) -> None:
    stage = many(result.stages[0], 300)
    found = importance(stage, samples=4)
    chart = importance_chart(stage, found)
    assert chart is not None
    bars, whiskers = chart.data
    assert dict(zip(bars["y"], bars["x"], strict=True)) == pytest.approx(
        {name: 100.0 * share for name, share in found.shares.items()}, rel=1e-4
    )
    assert bars["y"][-1] == next(iter(found.shares)) == chart.title.split()[0]
    assert whiskers["x"][2::3] == [None] * len(found.shares)
    few = importance_chart(stage, importance(changed(stage, complete=np.zeros(300, bool))))
    assert few is None


def test_a_pair_map_marks_the_choice_its_neighbours_and_the_number_of_trials(result: OptimizationResult) -> None:
    stage = result.stages[0]
    found = pair_map(stage, "ema_fast", "ema_slow")
    chart = pair_chart(stage, found, result.plateau)
    heat, cloud, star = chart.data
    assert (star["x"], star["y"]) == ([stage.best_params["ema_fast"]], [stage.best_params["ema_slow"]])
    assert sum(int(text) for row in heat["text"] for text in row if text) == found.used
    assert [[value is None for value in row] for row in heat["z"]] == (found.count == 0).tolist()
    # A step either way in each, and the point itself, where another parameter moves.
    assert set(zip(cloud["x"], cloud["y"], strict=True)) == {
        (star["x"][0] + across, star["y"][0] + up) for across in (-1, 0, 1) for up in (-1, 0, 1)
    }


def test_parallel_lines_are_heights_between_the_lowest_and_the_highest_value(result: OptimizationResult) -> None:
    stage = result.stages[0]
    chart = parallel_chart(stage)
    assert chart is not None
    lines = {trace["name"]: trace["y"] for trace in chart.data}
    points, axes = stage.trials.points, len(stage.space.names)
    low, high = points.min(axis=0), points.max(axis=0)
    wanted = (points[stage.chosen] - low) / (high - low)
    assert lines["chosen"][:axes] == pytest.approx(wanted.tolist(), abs=1e-3)
    drawn = sum(len(y) // (axes + 2) for name, y in lines.items() if name not in ("start", "chosen"))
    assert drawn == int(stage.trials.complete.sum())
    assert f"{stage.pruned} trials given up early or without a value are not drawn" in chart.note


def test_the_plateau_chart_has_a_bar_for_each_step_and_says_where_one_is_missing(result: OptimizationResult) -> None:
    plateau, stage = result.plateau, result.stages[-1]
    assert plateau is not None
    chart = plateau_chart(plateau, stage)
    assert chart is not None
    bars = {
        trace["name"]: dict(zip(trace["y"], trace["x"], strict=True)) for trace in chart.data if trace["x"] != [None]
    }
    for name, (down, up) in plateau.per_parameter.items():
        assert bars["one step down"][name] == (None if down is None else pytest.approx(down, rel=1e-4))
        assert bars["one step up"][name] == (None if up is None else pytest.approx(up, rel=1e-4))
    missing = sum(value is None for pair in plateau.per_parameter.values() for value in pair)
    assert chart.note.startswith(f"{missing} step") == (missing > 0)


def test_a_front_is_drawn_where_there_are_several_objectives(fronts: OptimizationResult) -> None:
    [stage] = fronts.stages
    [drawn] = optimization_charts(fronts).stages
    assert drawn.pareto is not None
    beaten, front, star = drawn.pareto.data
    assert len(front["x"]) == len(stage.trials.front) > 1
    # Rising Sharpe ratio costs drawdown all along the front.
    assert front["x"] == sorted(front["x"])
    assert front["y"] == sorted(front["y"])
    assert len(beaten["x"]) + len(front["x"]) == len(stage.trials)
    assert star["x"] == [pytest.approx(stage.best_value, rel=1e-4)]


# -- The page ----------------------------------------------------------------------------------------------------------


def test_the_page_of_a_large_search_stays_small(result: OptimizationResult) -> None:
    large = replace(result, stages=tuple(many(stage, 20_000) for stage in result.stages))
    assert len(page_of(large).encode()) < SIX_MEGABYTES


def test_the_page_asks_the_network_for_nothing(result: OptimizationResult) -> None:
    page = page_of(result)
    assert "default-src 'none'" in html.unescape(page[:2_000])
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=|url\(", own)


def test_the_page_says_above_each_importance_that_noise_looks_convincing_too(
    result: OptimizationResult, charts: OptimizationCharts
) -> None:
    page = page_of(result)
    drawn = [one.ranking for one in charts.stages if one.ranking is not None]
    assert drawn
    for chart in drawn:
        before = page.split(f'id="chart-{chart.name}"')[0]
        assert "On noise importances look convincing too" in before[-1_000:]


def test_the_page_shows_both_sides_and_the_luck_beside_the_result(result: OptimizationResult) -> None:
    page = page_of(result)
    row = re.search(r"<tr><th scope=\"row\">Sharpe ratio<td>([^<]+)<td>([^<]+)", page)
    assert row
    assert row.groups() == tuple(f"{side.metrics['sharpe_ratio']:.2f}" for side in (result.baseline, result.best))
    assert f"Sharpe {result.luck_line:.2f}" in page
    assert f"{result.n_trials:,} configurations on record" in page
    assert "SYNTHETIC" in page
    assert "no verdict" in page


def test_the_page_has_the_twenty_best_side_by_side_with_what_is_left_of_each(result: OptimizationResult) -> None:
    assert result.top is not None
    page = page_of(result).split("The best configurations side by side")[1]
    head, body = re.search(r"<thead>(.*?)</thead>.*?<tbody>(.*?)</tbody>", page, flags=re.DOTALL).groups()  # type: ignore[union-attr]
    names = re.findall(r"<th scope=\"col\">([^<]*)", head)
    rows = [re.split(r"<td[^>]*>", row)[1:] for row in body.split("<tr>")[1:]]
    assert len(rows) == len(result.top) >= 20
    for row, cells in zip(result.top.rows, rows, strict=True):
        shown = dict(zip(names[1:], (re.sub(r"<[^>]+>", "", cell).strip() for cell in cells), strict=True))
        assert shown["Sharpe ratio"] == f"{row.reported[0]:.2f}"
        assert shown["trades"] == str(row.trades)
        assert shown["steps kept"] == ("n/a" if row.kept is None else f"{100.0 * row.kept:.0f} %")
        assert [shown[name] for name in ("Sharpe, first third", "second third", "last third")] == [
            "n/a" if value is None else f"{value:.2f}" for value in row.thirds
        ]
        assert float(shown["ema_fast"]) == row.parameters["ema_fast"]
    assert sum(cells[0] == "chosen" for cells in rows) == 1


def test_the_document_has_the_best_configurations_as_the_result_has_them(
    result: OptimizationResult, tmp_path: Path
) -> None:
    assert result.top is not None
    top = json.loads(write_optimization(result, tmp_path).json.read_text())["top"]
    assert [one["objectives"]["sharpe_ratio"] for one in top] == [row.reported[0] for row in result.top.rows]
    assert [one["kept"] for one in top] == [row.kept for row in result.top.rows]
    assert [tuple(one["sharpe_by_third"]) for one in top] == [row.thirds for row in result.top.rows]
    assert top[0]["parameters"] == result.top.rows[0].parameters


def test_an_interrupted_search_says_so_before_any_number(result: OptimizationResult) -> None:
    page = page_of(replace(result, interrupted=True, notes=("stage 7.1 stopped after its 3 seconds.",)))
    assert page.index("INTERRUPTED") < page.index("<h1>")
    assert "Stage 7.1 stopped after its 3 seconds." in page


def test_a_stage_with_nothing_to_search_has_a_page_too(search: Search) -> None:
    found = search(num_trials=4, fixed=("ema_fast", "ema_slow", "ema_trend", "atr_period"))
    page = page_of(found)
    assert "This stage had nothing to search." in page
    assert "at least 20 are needed" in page


def test_a_search_in_which_no_trial_kept_the_guards_has_a_page_that_says_so(search: Search) -> None:
    found = search(num_trials=25, min_trades=5_000)
    drawn = optimization_charts(found)
    assert drawn.plateau is None
    assert drawn.history.title == f"None of {sum(len(stage.trials) for stage in found.stages)} trials kept all guards"
    page = page_of(found)
    assert re.search(r"None of \d+ neighbours has a value: no trade, or a broken guard\.", page)
    assert "the nearest one is returned, which is no result." in page
    assert "guard broken" in page


def test_an_objective_that_wants_to_be_markup_is_shown_as_it_is(search: Search) -> None:
    def hostile(outcome: Any) -> float:
        return float(outcome.net_pnl)

    hostile.__name__ = "<b>@ink</b></script>"
    found = search(joint=True, num_trials=12, optuna_sampler="RANDOM", objective=hostile)
    page = page_of(found)
    assert "<b>@ink" not in page
    assert "&lt;b&gt;@ink&lt;/b&gt;&lt;/script&gt;" in page
    for chart in optimization_charts(found).all():
        assert "<b>" not in json.dumps(chart.layout), chart.name


def test_nothing_is_shown_of_a_search_that_never_began(result: OptimizationResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing was searched yet"):
        write_optimization(replace(result, stages=()), tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- Files -------------------------------------------------------------------------------------------------------------


def test_the_files_hold_every_trial_and_every_conclusion(result: OptimizationResult, tmp_path: Path) -> None:
    files = write_optimization(result, tmp_path, written=WRITTEN)
    document = json.loads(files.json.read_text("utf-8"))
    assert document["schema_version"] == 1
    assert document["run"] == result.run
    assert [stage["stage"] for stage in document["stages"]] == ["7.1", "7.2", "7.3"]
    assert document["stages"][0]["best_value"] == result.stages[0].best_value
    assert set(document["stages"][0]["space"]) == set(result.stages[0].space.names)
    assert result.plateau is not None
    assert document["plateau"]["kept"] == result.plateau.kept
    for stage in result.stages:
        found = document["importance"][stage.stage]
        assert bool(found["reason"]) != bool(found["shares"])
    table = polars.read_csv(files.trials_csv)
    assert len(table) == sum(len(stage.trials) for stage in result.stages)
    assert (table["state"] == "pruned").sum() == sum(stage.pruned for stage in result.stages)
    assert files.html.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert files.html.stat().st_size < SIX_MEGABYTES


def test_the_page_is_the_same_for_the_same_result(result: OptimizationResult) -> None:
    assert page_of(result) == page_of(result)


def test_where_one_file_cannot_be_written_none_is_left(result: OptimizationResult, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "exports").write_text("in the way")
    with pytest.raises(DataError):
        write_optimization(result, tmp_path)
    assert not list((tmp_path / "data" / "results").iterdir())


# -- Terminal ----------------------------------------------------------------------------------------------------------


def printed(result: OptimizationResult) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    print_optimization(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_page_fits_80_columns_and_has_the_headline(result: OptimizationResult) -> None:
    text = printed(result)
    assert max(len(line) for line in text.splitlines()) <= 80
    sharpe = re.search(r"^ Sharpe +(\S+) +(\S+)", text, re.MULTILINE)
    assert sharpe
    assert sharpe.groups() == tuple(f"{side.metrics['sharpe_ratio']:.2f}" for side in (result.baseline, result.best))
    assert f"Sharpe ratio of {result.luck_line:.2f} by luck alone" in " ".join(text.split())
    assert "in-sample" in text
    for name in result.best_params:
        assert name in text


def test_the_terminal_page_shows_an_objective_that_is_in_no_other_line(search: Search) -> None:
    found = search(joint=True, num_trials=5, objective="sqn")
    assert re.search(r"SQN +\S+ +\S+", printed(found))


# -- In a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture
def chromium(tmp_path: Path) -> Browser:
    """Chromium; the test is skipped, visibly, where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser among {', '.join(NAMES)}: install Chromium to run this test")
    return Browser(program, tmp_path)


@pytest.fixture(scope="module")
def written_page(fronts: OptimizationResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of chart."""
    assert len(fronts.stages[0].space.names) >= MOST_LEVEL_AXES
    return write_optimization(fronts, tmp_path_factory.mktemp("home")).html


@pytest.mark.browser
def test_every_chart_is_drawn_and_the_console_stays_empty(
    chromium: Browser, written_page: Path, fronts: OptimizationResult
) -> None:
    dump, console = chromium.run(written_page, "--dump-dom", "--window-size=1440,1000")
    assert console == []
    for chart in optimization_charts(fronts).all():
        drawing = dump.split(f'id="chart-{chart.name}"')[1].split("</figure>")[0]
        assert "main-svg" in drawing, chart.name


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_but_tables_is_wider_than_the_screen(width: int, chromium: Browser, written_page: Path) -> None:
    answer = chromium.ask(
        written_page,
        """
        const wide = [...document.body.querySelectorAll("*")]
          .filter((item) => !item.closest(".scroll table, svg, .modebar"))
          .filter((item) => item.getBoundingClientRect().right > innerWidth + 1)
          .map((item) => item.outerHTML.slice(0, 90));
        return { page: document.documentElement.scrollWidth, screen: innerWidth, wide };
        """,
        width,
    )
    assert answer == {"page": width, "screen": width, "wide": []}


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
def test_no_name_of_a_parameter_is_cut_off(width: int, chromium: Browser, written_page: Path) -> None:
    answer = chromium.ask(
        written_page,
        """
        return [...document.querySelectorAll(".plot")].map((plot) => {
          const room = plot.getBoundingClientRect();
          return [...plot.querySelectorAll(".xtick text, .ytick text")]
            .map((text) => text.getBoundingClientRect())
            .filter((box) => box.left < room.left - 1 || box.right > room.right + 1 || box.bottom > room.bottom + 1)
            .length;
        });
        """,
        width,
    )
    assert len(answer) > 10
    assert sum(answer) == 0


@pytest.mark.browser
def test_on_paper_every_chart_has_the_room_it_is_drawn_in(chromium: Browser, written_page: Path) -> None:
    charts = chromium.on_paper(written_page)
    assert {chart["small"] for chart in charts} == {True, False}
    assert [chart for chart in charts if not chart["fits"]] == []
