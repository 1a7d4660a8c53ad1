"""How the choice of a search would have done elsewhere, as a document: enough to draw it again without the trials.

A probability of overfitting is one number over thousands of splits. Whether it comes from a choice that is a little
worse everywhere or from one that collapses in half of them is only seen in how the splits are spread.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.report.charts import compact, evenly

if TYPE_CHECKING:
    from barwise.stats.overfitting import PBO

_BINS = 24  # even, so that one of the edges is 0, where the probability is counted
_MOST_SPLITS = 500


def overfitting_document(found: "PBO", bars_per_year: float) -> dict[str, Any]:
    """The spread of the splits behind a probability of overfitting, as JSON takes it.

    Args:
        found: Over all splits.
        bars_per_year: Makes Sharpe ratios annual.

    Returns:
        `blocks`; `logits`, a histogram of where the choice ranks in the other half (`edges`, one more than `counts`,
        which sum to the number of splits); `degradation`, annual Sharpe ratios of evenly spread splits in the half in
        which the trial was chosen (`chosen_in`) and in the other (`other_half`), with `slope` and `intercept` of the
        line through all splits, None where there is none.
    """
    reach = max(float(np.abs(found.logits).max(initial=0.0)), 1.0)
    # A logit of 0 counts as below the middle, and a histogram puts it above: it goes to the edge's other side.
    logits = np.where(found.logits == 0.0, -np.finfo(np.float64).tiny, found.logits)
    counts, edges = np.histogram(logits, _BINS, (-reach, reach))
    rows = evenly(found.splits, _MOST_SPLITS)
    scale = math.sqrt(bars_per_year)
    return {
        "blocks": found.blocks,
        "logits": {"edges": edges.tolist(), "counts": counts.tolist()},
        "degradation": {
            "chosen_in": compact((scale * found.in_sample_best[rows]).tolist()),
            "other_half": compact((scale * found.out_of_sample[rows]).tolist()),
            "slope": found.slope,
            "intercept": scale * found.intercept,
        },
    }
