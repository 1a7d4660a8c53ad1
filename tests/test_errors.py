"""The tree of errors: what a caller can catch, and what a person reads."""

import pickle

import pytest

import barwise
from barwise.errors import (
    APIError,
    BacktestError,
    BarwiseError,
    CheckpointError,
    ConfigError,
    CredentialError,
    DataError,
    RateLimitError,
    did_you_mean,
)

ALL = [APIError, BacktestError, CheckpointError, ConfigError, CredentialError, DataError, RateLimitError]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_barwise_error_and_is_public(kind: type[BarwiseError]) -> None:
    assert issubclass(kind, BarwiseError)
    assert getattr(barwise, kind.__name__) is kind


def test_the_tree_is_the_one_that_is_drawn() -> None:
    assert RateLimitError.__bases__ == (APIError,)
    assert issubclass(ConfigError, ValueError)
    assert issubclass(DataError, ValueError)
    assert not issubclass(BacktestError, ValueError)
    ours = {kind for kind in BarwiseError.__subclasses__() if kind.__module__ == BarwiseError.__module__}
    assert {kind.__name__ for kind in ours} == {
        "APIError", "BacktestError", "CheckpointError", "ConfigError", "CredentialError", "DataError",
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "code"), [(kind, 2 if kind is ConfigError else 1) for kind in ALL])
def test_bad_configuration_ends_with_2_and_everything_else_with_1(kind: type[BarwiseError], code: int) -> None:
    assert kind("no").exit_code == code


def test_an_error_reads_as_message_and_hint() -> None:
    error = DataError("BTCUSDT 1H needs at least 252 bars.", hint="start earlier.")
    assert str(error) == "BTCUSDT 1H needs at least 252 bars.\n  hint: start earlier."
    assert (error.message, error.hint) == ("BTCUSDT 1H needs at least 252 bars.", "start earlier.")
    assert str(DataError("No bars.")) == "No bars."
    assert DataError("No bars.").hint == ""


def test_an_error_of_a_venue_carries_what_it_answered() -> None:
    error = APIError("no", status=503, code=-1001)
    assert (error.status, error.code) == (503, -1001)
    assert (APIError("no").status, APIError("no").code) == (None, None)
    limit = RateLimitError("slow down", hint="wait.", status=429, retry_after=58.0)
    assert (limit.retry_after, limit.status, limit.hint) == (58.0, 429, "wait.")
    assert RateLimitError("slow down").retry_after is None


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("wrong", hint="right."),
        APIError("no", hint="later.", status=503, code="X"),
        RateLimitError("slow", hint="wait.", status=429, code=-1003, retry_after=2.5),
    ],
)
def test_an_error_crosses_to_another_process_whole(error: BarwiseError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.parametrize(
    ("word", "known", "sentence"),
    [
        ("ema_fsat", ["ema_fast", "ema_slow"], " Did you mean ema_fast?"),
        ("EMA_FAST", ["ema_fast"], " Did you mean ema_fast?"),
        ("trase", ["TRADE"], " Did you mean TRADE?"),
        ("xyz", ["ema_fast"], ""),
        ("", ["ema_fast"], ""),
        ("ema", [], ""),
    ],
)
def test_the_nearest_known_word_is_offered_and_none_where_none_is_near(
    word: str, known: list[str], sentence: str
) -> None:
    assert did_you_mean(word, known) == sentence
