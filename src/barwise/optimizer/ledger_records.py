"""What the ledger is told and what it answers: data sets, contexts, batches of evaluations, and the runs made of them.

Everything here is plain data that knows nothing of a database; how it is kept is the business of `Ledger`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import SUMMARY, BoolArray, FloatArray, IntArray, RecordArray
from barwise.data.candles import Candles
from barwise.errors import ConfigError, DataError
from barwise.timeframe import Timeframe

RECORDED_METRICS = ("total_trades", "net_pnl", "sharpe_ratio", "max_drawdown")


@dataclass(frozen=True)
class DataSet:
    """What was searched on.

    Attributes:
        fingerprint: Of the candles; names identity and content.
        exchange, symbol, timeframe: The candles' identity.
        first_ms, last_ms: Opens of the first and of the last bar, ms UTC.
        bars: Number of bars.
    """

    fingerprint: str
    exchange: str
    symbol: str
    timeframe: str
    first_ms: int
    last_ms: int
    bars: int

    @classmethod
    def of(cls, candles: Candles) -> "DataSet":
        """The data set that these candles are.

        Raises:
            DataError: There is not one bar.
        """
        if not len(candles):
            raise DataError(f"{candles.label or 'The candles'}: no bars, so there is nothing to keep a record of.")
        return cls(
            candles.fingerprint,
            candles.exchange,
            candles.symbol,
            candles.timeframe.name,
            int(candles.time[0]),
            int(candles.time[-1]),
            len(candles),
        )

    @property
    def end_ms(self) -> int:
        """Close of the last bar, ms UTC."""
        return self.last_ms + Timeframe.parse(self.timeframe).ms


@dataclass(frozen=True)
class Context:
    """Everything besides the parameters of a configuration that could change its result.

    Attributes:
        data: What was searched on.
        strategy: Qualified class name.
        description: What JSON can hold: digest of the strategy's source, execution settings, fees, quantity, digests of
            detail candles and funding, a first bar to trade from where one was given, the version of the code.
    """

    data: DataSet
    strategy: str
    description: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """Name of all of it, 64 hex digits.

        The layout of a summary is part of it, so that a stored one is never read by a layout it was not written in.

        Raises:
            ConfigError: The description holds what JSON cannot.
        """
        whole = {"data": asdict(self.data), "strategy": self.strategy, "summary": SUMMARY.descr}
        return sha256(canonical({**whole, "description": dict(self.description)}).encode()).hexdigest()


class Rows(NamedTuple):
    """A batch of n evaluations as columns.

    Attributes:
        keys: 16 bytes each, by `configuration_keys`.
        parameters: The full parameter values of each configuration, as a canonical JSON object.
        first: First signal bar used, int64.
        stop: One past the last signal bar used, int64; the number of bars for a full evaluation.
        summaries: SUMMARY records (core.layout).
        metrics: At least total_trades, net_pnl, sharpe_ratio, max_drawdown, in the units they are reported in.
        scores: The objective as reported; NaN where it has no value.
    """

    keys: list[bytes]
    parameters: list[str]
    first: IntArray
    stop: IntArray
    summaries: RecordArray
    metrics: Mapping[str, NDArray[Any]]
    scores: FloatArray


class Answers(NamedTuple):
    """What a user's function said of the results of n evaluations.

    Attributes:
        function: Its name, for people.
        source: Digest of what it does: an answer is given again only where this is the same.
        keys, first, stop: The evaluations, as in `Rows`.
        values: float64, NaN where it gave no finite number.
    """

    function: str
    source: str
    keys: list[bytes]
    first: IntArray
    stop: IntArray
    values: FloatArray


@dataclass(frozen=True)
class Origin:
    """Where a batch came from.

    Attributes:
        run: Id of the run, for example "20250401T120000-ab12".
        stage: "7.1", "7.2", "7.3", "joint", "neighbourhood", "manual", ...
        sampler: Name of the sampler.
        seed: A 64-bit whole number, or None.
        objective: Name of the objective.
    """

    run: str
    stage: str
    sampler: str
    seed: int | None
    objective: str

    def __post_init__(self) -> None:
        """Check the seed here, where the search starts, and not at the end of its first batch."""
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ConfigError(f"seed must be a whole number of 64 bits; got {self.seed}.")


@dataclass(frozen=True)
class Run:
    """One run on one data set, in short.

    Attributes:
        run: Its id.
        started_ms, ended_ms: When its first and its last batch were recorded, ms UTC.
        data: What was searched on.
        stages: In the order of their first batch.
        evaluations: Rows that this run has added to the record.
        best: The highest score of a full evaluation in its batches, or None where there is none.
    """

    run: str
    started_ms: int
    ended_ms: int
    data: DataSet
    stages: tuple[str, ...]
    evaluations: int
    best: float | None


def configuration_keys(values: FloatArray) -> list[bytes]:
    """Short names of configurations, 16 bytes each: equal exactly where all values are.

    Args:
        values: float64 [n, k]; the k parameters in an order that never changes, NaN where a parameter is None.
    """
    # Equal values must be equal bytes: adding 0 makes -0.0 and 0.0 one, and a NaN has many spellings.
    rows = np.ascontiguousarray(values + 0.0, dtype="<f8")
    rows[np.isnan(rows)] = np.nan
    return [blake2b(row, digest_size=16).digest() for row in rows]


class Known:
    """What is on record for one context, in memory: answers a batch at once.

    Of evaluations of one configuration up to the same bar that start at different bars, the one that starts first is
    kept, in whatever order they came.
    """

    def __init__(self) -> None:
        self._row_of: dict[int, dict[bytes, int]] = {}
        self._first: IntArray = np.empty(0, np.int64)
        self._summaries: RecordArray = np.empty(0, SUMMARY)
        self._size = 0
        self._answers: dict[str, dict[tuple[bytes, int, int], float]] = {}

    def __len__(self) -> int:
        return sum(len(row_of) for row_of in self._row_of.values())

    def get(self, keys: list[bytes], stop: int | IntArray) -> tuple[BoolArray, IntArray, RecordArray]:
        """What is on record of these configurations.

        Args:
            keys: n keys.
            stop: One past the last signal bar: one for all, or one each.

        Returns:
            Which were found, bool [n]; first signal bars used, int64 [n]; SUMMARY records [n]. Zeros where not found.
        """
        if isinstance(stop, np.ndarray):
            rows = [self._row_of.get(bar, {}).get(key, -1) for bar, key in zip(stop.tolist(), keys, strict=True)]
        else:
            row_of = self._row_of.get(int(stop), {})
            rows = [row_of.get(key, -1) for key in keys]
        row = np.array(rows, np.int64)
        found = row >= 0
        first, summaries = np.zeros(row.size, np.int64), np.zeros(row.size, SUMMARY)
        first[found], summaries[found] = self._first[row[found]], self._summaries[row[found]]
        return found, first, summaries

    def answers(self, source: str, keys: list[bytes], first: IntArray, stop: int) -> tuple[BoolArray, FloatArray]:
        """What a user's function is on record to have said.

        Args:
            source: Digest of the function.
            keys, first: The evaluations, n of them.
            stop: One past the last signal bar of all of them.

        Returns:
            Which it was asked about, bool [n]; its answers, float64 [n], NaN where it has none.
        """
        said = self._answers.get(source, {})
        evaluations = [(key, bar, stop) for key, bar in zip(keys, first.tolist(), strict=True)]
        asked = np.array([evaluation in said for evaluation in evaluations], np.bool_)
        return asked, np.array([said.get(evaluation, np.nan) for evaluation in evaluations], np.float64)

    def add_answers(self, answers: Answers) -> None:
        """Take in what a user's function said, as `Ledger.record` does on disk; the first answer stays."""
        said = self._answers.setdefault(answers.source, {})
        for *evaluation, value in zip(
            answers.keys, answers.first.tolist(), answers.stop.tolist(), answers.values.tolist(), strict=True
        ):
            said.setdefault(tuple(evaluation), value)

    def add(self, rows: Rows) -> None:
        """Take in a batch, as `Ledger.record` does on disk."""
        self.extend(rows.keys, rows.first, rows.stop, rows.summaries)

    def extend(self, keys: list[bytes], first: IntArray, stop: IntArray, summaries: RecordArray) -> None:
        """Take in a batch by the columns that answers are made of, as in `Rows`."""
        base, size = self._size, self._size + len(keys)
        if size > self._first.size:
            room = max(size, 2 * self._first.size) - base
            self._first = np.concatenate([self._first[:base], np.zeros(room, np.int64)])
            self._summaries = np.concatenate([self._summaries[:base], np.zeros(room, SUMMARY)])
        self._first[base:size], self._summaries[base:size] = first, summaries
        self._size = size
        for row, key, bar in zip(range(base, size), keys, stop.tolist(), strict=True):
            row_of = self._row_of.setdefault(bar, {})
            held = row_of.setdefault(key, row)
            if self._first[row] < self._first[held]:
                row_of[key] = row


def canonical(value: Any) -> str:
    """JSON with sorted names and no blanks: equal text exactly where the values are equal.

    Raises:
        ConfigError: JSON cannot hold the value.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The description of a context must be what JSON can hold: {error}.") from None
