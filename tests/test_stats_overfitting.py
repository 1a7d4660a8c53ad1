"""PBO against its definition split by split, against another implementation, and on markets of known truth."""

import itertools
import math

import holdout.pbo
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FloatArray, IntArray
from barwise.errors import ConfigError, DataError
from barwise.stats import overfitting
from barwise.stats.overfitting import PBO, _product, probability_of_overfitting


def noise(trials: int, observations: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((trials, observations)) * 0.01


def ratio(returns: FloatArray) -> float:
    deviation = returns.std(ddof=1)
    return float(returns.mean() / deviation) if deviation > 1e-15 else math.nan


def by_definition(returns: FloatArray, blocks: int) -> list[tuple[int, float, float, float]]:
    """Chosen trial, its ratio in and out of sample, and the logit of its rank: split by split, from the returns."""
    pieces = np.array_split(np.arange(returns.shape[1]), blocks)
    found = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([pieces[block] for block in chosen])
        outside = np.concatenate([pieces[block] for block in range(blocks) if block not in chosen])
        near = np.array([ratio(row[inside]) for row in returns])
        far = np.array([ratio(row[outside]) for row in returns])
        if np.isnan(near).all():
            continue
        best = int(np.nanargmax(near))
        ranks = scipy.stats.rankdata(np.nan_to_num(far))
        rank = ranks[best] / (len(returns) + 1)
        found.append((best, near[best], float(np.nan_to_num(far)[best]), math.log(rank / (1.0 - rank))))
    return found


def assert_by_definition(found: PBO, returns: FloatArray, blocks: int) -> None:
    expected = by_definition(returns, blocks)
    assert found.splits == len(expected) == len(found.logits)
    assert found.chosen.tolist() == [row[0] for row in expected]
    assert found.in_sample_best == pytest.approx([row[1] for row in expected], rel=1e-9, abs=1e-12)
    assert found.out_of_sample == pytest.approx([row[2] for row in expected], rel=1e-9, abs=1e-12)
    assert found.logits == pytest.approx([row[3] for row in expected], abs=1e-12)
    assert found.pbo == np.mean([row[3] <= 0.0 for row in expected])
    assert found.probability_of_loss == np.mean([row[2] < 0.0 for row in expected])


@pytest.mark.parametrize(("blocks", "observations"), [(2, 40), (6, 120), (8, 203)], ids=str)
def test_every_split_is_what_the_definition_says(blocks: int, observations: int) -> None:
    returns = noise(9, observations) + 0.001
    assert_by_definition(probability_of_overfitting(returns, blocks), returns, blocks)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([2, 4, 6]), st.integers(12, 60))
def test_any_trials_with_idle_stretches_give_what_the_definition_says(
    seed: int, trials: int, blocks: int, observations: int
) -> None:
    random = np.random.default_rng(seed)
    returns = random.standard_normal((trials, observations)) * 0.01
    pieces = np.array_split(np.arange(observations), blocks)
    for row in returns[1:]:
        for block in range(blocks):
            if random.random() < 0.4:
                row[pieces[block]] = 0.0
    if sum(row.any() for row in returns) < 2:
        return
    moving = returns[[bool(row.any()) for row in returns]]
    found = probability_of_overfitting(moving, blocks)
    assert_by_definition(found, moving, blocks)
    assert probability_of_overfitting(returns, blocks).pbo == found.pbo


def test_sixteen_blocks_make_12870_splits_and_agree_with_another_implementation() -> None:
    returns = noise(30, 1000, seed=3)
    found = probability_of_overfitting(returns)
    theirs = holdout.pbo.probability_of_backtest_overfitting(returns.T)
    assert found.splits == 12870
    assert found.logits == pytest.approx(theirs.logits, abs=1e-12)
    assert found.pbo == theirs.pbo
    assert found.out_of_sample == pytest.approx(theirs.out_of_sample, rel=1e-9)
    assert (found.slope, found.intercept) == pytest.approx(theirs.degradation[:2])
    assert found.probability_of_loss == theirs.probability_of_loss


def test_copies_of_a_trial_share_their_rank_to_the_bit() -> None:
    """With everything doubled, w of the best of 3 distinct trials is one of 1.5, 3.5 and 5.5 over 7."""
    returns = np.repeat(noise(3, 320, seed=1), 2, axis=0)[[0, 3, 5, 1, 2, 4]]
    found = probability_of_overfitting(returns)
    ranks = 7.0 / (1.0 + np.exp(-found.logits))
    assert set(np.round(ranks, 9)) <= {1.5, 3.5, 5.5}
    alone = probability_of_overfitting(returns[:3])
    assert len(set(found.out_of_sample)) == len(set(alone.out_of_sample))


def test_sums_on_the_grid_are_the_same_in_every_order_and_lose_nothing_that_counts() -> None:
    random = np.random.default_rng(0)
    sums = random.standard_normal((20, 200)) * 10.0 ** random.uniform(-9, 9, 200)
    exact = overfitting._exact(sums)
    orders = [random.permutation(20) for _ in range(20)]

    def added_up(parts: FloatArray, order: IntArray) -> list[float]:
        total = np.zeros(parts.shape[1])
        for block in order:
            total = total + parts[block]
        return total.tolist()

    assert all(added_up(exact, order) == added_up(exact, orders[0]) for order in orders)
    assert any(added_up(sums, order) != added_up(sums, orders[0]) for order in orders)
    assert (np.abs(exact - sums) <= 2.0**-47 * np.abs(sums).max(axis=0)).all()
    assert overfitting._exact(np.zeros((4, 2))).tolist() == [[0.0, 0.0]] * 4


def test_all_trials_alike_are_at_the_middle_in_every_split() -> None:
    found = probability_of_overfitting(np.tile(noise(1, 200), (5, 1)))
    assert (found.logits == 0.0).all()
    assert found.pbo == 1.0
    assert not found.first_order
    assert not found.second_order


def test_without_an_edge_it_is_about_a_half_and_not_one() -> None:
    found = [probability_of_overfitting(noise(40, 400, seed), 8).pbo for seed in range(120)]
    assert 0.42 < np.mean(found) < 0.54
    # Read as "below 0.5 is good" it would pass noise half of the time.
    assert 0.35 < np.mean(np.array(found) < 0.5) < 0.65


def test_one_trial_with_an_edge_is_found_in_every_split() -> None:
    returns = noise(50, 2000)
    returns[17] += 0.005
    found = probability_of_overfitting(returns)
    assert found.pbo == 0.0
    assert found.probability_of_loss == 0.0
    assert set(found.chosen) == {17}
    assert found.first_order
    assert found.second_order


def test_an_edge_that_turns_against_whoever_chooses_it_is_seen_as_overfit() -> None:
    """Each trial gains in one half of the data what it loses in the other."""
    returns = noise(20, 800, seed=5) * 0.1
    for trial, row in enumerate(returns):
        row[:400] += 0.001 * (trial - 9.5)
        row[400:] -= 0.001 * (trial - 9.5)
    found = probability_of_overfitting(returns, 2)
    assert found.pbo == 1.0
    assert found.probability_of_loss == 1.0
    everywhere = probability_of_overfitting(returns, 8)
    assert everywhere.slope < -0.5
    # The 34 of 70 splits that do not take as much of one half as of the other choose by what will turn.
    assert everywhere.pbo >= 34 / 70
    assert not everywhere.second_order


def test_trials_without_a_trade_are_left_out_and_rows_keep_their_numbers() -> None:
    returns = np.zeros((6, 160))
    returns[[2, 5]] = noise(2, 160)
    found = probability_of_overfitting(returns)
    alone = probability_of_overfitting(returns[[2, 5]])
    assert (found.trials, found.left_out) == (2, 4)
    assert set(found.chosen) <= {2, 5}
    assert found.logits.tolist() == alone.logits.tolist()


def test_splits_in_which_nothing_can_be_chosen_are_not_counted() -> None:
    returns = noise(3, 80)
    returns[:, :40] = 0.0
    found = probability_of_overfitting(returns, 4)
    assert found.splits == math.comb(4, 2) - 1
    assert_by_definition(found, returns, 4)


def test_scale_order_and_precision_of_the_trials_change_nothing() -> None:
    returns = noise(25, 500, seed=2)
    found = probability_of_overfitting(returns)
    order = np.random.default_rng(0).permutation(25)
    assert probability_of_overfitting(returns[order]).logits.tolist() == found.logits.tolist()
    scaled = probability_of_overfitting(returns * 2.0 ** np.arange(-12, 13)[:, None])
    assert scaled.logits.tolist() == found.logits.tolist()
    single = probability_of_overfitting(returns.astype(np.float32))
    assert single.pbo == pytest.approx(found.pbo, abs=0.002)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(13, 300)
    found = probability_of_overfitting(returns, 8)
    monkeypatch.setattr(overfitting, "_CELLS", 100)
    monkeypatch.setattr(overfitting, "_CHUNK", 700)
    again = probability_of_overfitting(returns, 8)
    assert again.logits.tolist() == found.logits.tolist()
    assert again.out_of_sample.tolist() == found.out_of_sample.tolist()


def test_a_return_that_dwarfs_all_others_leaves_every_number_finite() -> None:
    returns = noise(4, 160)
    returns[1, 7] = 1e9
    found = probability_of_overfitting(returns)
    for values in (found.logits, found.in_sample_best, found.out_of_sample, found.out_of_sample_mean):
        assert np.isfinite(values).all()


def test_dominance_of_hand_made_samples() -> None:
    dominance = overfitting._dominance
    low, high = np.array([3.0, 1.0, 2.0]), np.array([2.0, 3.5, 1.0])
    assert dominance(high, low) == (True, True)
    assert dominance(low, high) == (False, False)
    assert dominance(low, low) == (False, False)
    # Less spread around the same mean: only whoever dislikes risk prefers it.
    assert dominance(np.array([2.0, 2.0]), np.array([1.0, 3.0])) == (False, True)


@pytest.mark.parametrize("blocks", [0, 1, 7, 22])
def test_a_number_of_blocks_that_cannot_be_halved_is_refused(blocks: int) -> None:
    with pytest.raises(ConfigError, match=f"even number from 2 to 20; got {blocks}"):
        probability_of_overfitting(noise(3, 100), blocks)


def test_data_that_cannot_answer_are_refused_with_a_sentence() -> None:
    with pytest.raises(DataError, match="at least 32 observations are needed; got 31"):
        probability_of_overfitting(noise(3, 31))
    with pytest.raises(DataError, match="at least 2 trials that vary; got 1 of 1"):
        probability_of_overfitting(noise(1, 100))
    with pytest.raises(DataError, match="at least 2 trials that vary; got 0 of 3"):
        probability_of_overfitting(np.full((3, 100), 0.001))
    broken = noise(3, 100)
    broken[1, 7] = math.nan
    with pytest.raises(DataError, match="return 7 of trial 1 is nan"):
        probability_of_overfitting(broken)
    one_each = np.zeros((2, 160))
    one_each[0, 3], one_each[1, 3] = 0.1, 0.2
    assert probability_of_overfitting(one_each).splits == 12870 // 2


@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 2, 1), (16, 16, 1_024), (17, 16, 1_025), (33, 20, 3_000)])
def test_a_product_in_pieces_is_the_product_to_the_bit(rows: int, inner: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    left = random.integers(0, 2, (rows, inner)).astype(np.float64)
    right = random.integers(-(2**47), 2**47, (inner, columns)).astype(np.float64)
    expected = [
        [sum(int(right[k, j]) for k in range(inner) if left[i, k]) for j in range(columns)] for i in range(rows)
    ]
    assert np.array_equal(_product(left, right), np.array(expected, dtype=np.float64))
