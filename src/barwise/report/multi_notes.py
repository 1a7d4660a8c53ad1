"""What many markets say together in words, shared by the page, the terminal and the JSON so that all say the same."""

from collections import defaultdict
from collections.abc import Sequence

from barwise.report.multi_markets import LEAST_DAYS, NO_VERDICT, Group, Market, Together
from barwise.report.text import counted, number, percent
from barwise.validation.verdict import REAL_P

ASSUMPTIONS = (
    "Each market has the same share of the money, in an account in its own quote currency: nothing is converted and no "
    "currency is hedged. Rebalanced daily, the shares are made equal again at every end of day, which costs nothing "
    "here and would cost fees and transfers; positions are taken to shrink and grow with the share, past every lot and "
    "least order. Left apart, each account keeps what it makes."
)
# One market carries the result where it has more than this share of the variance; with two, one always has half.
_CARRIES, _CARRIES_OF_TWO = 0.5, 0.8
_MOST_NAMED = 5


def summary(together: Together) -> tuple[str, ...]:
    """All of it in a few sentences, the verdicts first."""
    kinds = ", ".join(
        f"{len(markets):,} {'without a verdict' if word == NO_VERDICT else word}"
        for word, markets in together.verdicts.items()
    )
    return (
        f"{counted(len(together.markets), 'market')}: {kinds}.",
        _portfolio_sentence(together),
        *(text for text in (luck_sentence(together), holm_sentence(together)) if text),
    )


def _portfolio_sentence(together: Together) -> str:
    group = together.outside
    if not group.members:
        return "No market has an out-of-sample result, so nothing here says what any of them would have made."
    if group.portfolio is None:
        return f"Out-of-sample they share only {counted(group.days, 'day')}: too few for a portfolio."
    account = group.portfolio.rebalanced
    one = len(group.members) == 1
    who = "The one market with an out-of-sample result" if one else f"Out-of-sample, {len(group.members):,} markets"
    weights = "" if one else " of equal weight"
    text = (
        f"{who}{weights} made {percent(account.total_return, signed=True)} on {counted(group.days, 'common day')}: a "
        f"Sharpe ratio of {number(account.sharpe_ratio)}, at worst {percent(account.max_drawdown)} below the peak."
    )
    bets = group.portfolio.effective_bets
    if bets is not None:
        text += f" They are worth {number(bets, 1)} independent markets."
    return text


def luck_sentence(together: Together) -> str:
    """The strongest market beside what luck gives the strongest of so many; "" where there are not two."""
    luck = together.luck
    if luck is None or luck.markets < 2:
        return ""
    than = "more than" if luck.sharpe_ratio > luck.by_luck else "no more than"
    return (
        f"The strongest, {luck.strongest}, has an out-of-sample Sharpe ratio of {number(luck.sharpe_ratio)}, {than} "
        f"the {number(luck.by_luck)} that the strongest of {luck.markets:,} markets without an edge should show."
    )


def holm_sentence(together: Together) -> str:
    """How many permutation tests are left when their number is counted; "" where none was run."""
    made = [(one, both) for one, both in zip(_p_values(together), together.adjusted, strict=True) if one is not None]
    if not made:
        return ""
    alone = sum(one <= REAL_P for one, _ in made)
    kept = sum(both is not None and both <= REAL_P for _, both in made)
    share = percent(100.0 * REAL_P, 0)
    if len(made) == 1:
        return f"The one permutation test has p = {number(made[0][0], 3)}."
    if not alone:
        return f"None of {len(made):,} permutation tests has p of {share} or less."
    return (
        f"Of {len(made):,} permutation tests {alone:,} {'has' if alone == 1 else 'have'} p of {share} or less; "
        f"counting how many tests there were (Holm), {kept:,}."
    )


def _p_values(together: Together) -> list[float | None]:
    return [market.p_value for market in together.markets]


# -- Notes -------------------------------------------------------------------------------------------------------------


def notes(together: Together) -> tuple[str, ...]:
    """What a reader should know before believing any of it, most important first."""
    found = [
        *_of_kinds(together),
        *_of_days(together.outside),
        *_of_tests(together),
        *_of_dominance(together.outside),
        *_of_sameness(together),
    ]
    return tuple(found)


def _named(markets: Sequence[Market]) -> str:
    """Some labels; the first ones where there are many."""
    text = ", ".join(market.label for market in markets[:_MOST_NAMED])
    left = len(markets) - _MOST_NAMED
    return f"{text} and {left:,} more" if left > 0 else text


def _of_kinds(together: Together) -> list[str]:
    """Markets whose results are not what their column says."""
    markets, found = together.markets, []
    made_up = [market for market in markets if market.baseline.candles.synthetic]
    if made_up and len(made_up) < len(markets):
        found.append(f"the prices of {_named(made_up)} are synthetic and say nothing about a real market.")
    without = [market for market in markets if market.walked is None]
    if without and len(without) < len(markets):
        found.append(
            f"{counted(len(without), 'market')} without an out-of-sample result "
            f"{'is' if len(without) == 1 else 'are'} in no out-of-sample figure: {_named(without)}."
        )
    fixed = [market for market in markets if market.walked is not None and not market.walked.reoptimized]
    if fixed:
        found.append(
            f"the windows of {_named(fixed)} traded one given configuration: a stability check, and out-of-sample only "
            "if it was not found on these candles."
        )
    ruined = [market for market in markets if market.findings.chosen.ruined]
    if ruined:
        found.append(f"{_named(ruined)} lost the whole account; from then on it stands still.")
    return found


def _of_days(group: Group) -> list[str]:
    """Days the markets do not share."""
    if len(group.members) < 2:
        return []
    found = []
    if group.portfolio is None:
        text = f"all markets share only {counted(group.days, 'out-of-sample day')}, and {LEAST_DAYS} are needed."
        if group.days_without is not None and group.days_without[0] >= LEAST_DAYS:
            text += f" Without {group.days_without[1].label} there are {group.days_without[0]:,}."
        found.append(text)
    else:
        longest = max(row[place].days for place, row in enumerate(group.correlations))
        if longest > group.days:
            found.append(
                f"spans and calendars differ: the longest out-of-sample series has {longest:,} days, all of them "
                f"share {group.days:,}, and only those are in the portfolio."
            )
    short = sum(pair.days < LEAST_DAYS for place, row in enumerate(group.correlations) for pair in row[place + 1 :])
    if short:
        found.append(
            f"{counted(short, 'pair')} of markets {'shares' if short == 1 else 'share'} fewer than {LEAST_DAYS} "
            "out-of-sample days and has no correlation here."
        )
    calendars = {market.baseline.candles.calendar.name for market in group.members}
    if len(calendars) > 1:
        found.append(
            "the markets close at different hours, so what moved one late in its day is in another's next day: "
            "correlations are understated, diversification is overstated."
        )
    return found


def _of_tests(together: Together) -> list[str]:
    """Permutation tests that are missing, or too few to be told apart from luck."""
    made = [market for market in together.markets if market.p_value is not None]
    found = []
    if not made:
        return ["no permutation test was run, so nothing says what the same search finds on shuffled markets."]
    if len(made) < len(together.markets):
        found.append(
            f"{len(made):,} of {counted(len(together.markets), 'market')} have a permutation test; Holm's p counts "
            "only those."
        )
    planned = [
        validation.permutation.planned
        for market in made
        if (validation := market.findings.validation) is not None and validation.permutation is not None
    ]
    if planned and len(made) > 1:
        least = len(made) / (max(planned) + 1)
        if least > REAL_P:
            needed = round(len(made) / REAL_P) - 1
            found.append(
                f"with {max(planned):,} shuffled markets each, Holm's p of {len(made):,} tests cannot be below "
                f"{percent(100.0 * min(least, 1.0))}, whatever is found; {needed:,} would allow "
                f"{percent(100.0 * REAL_P, 0)}."
            )
    return found


def _of_dominance(group: Group) -> list[str]:
    """One market that carries the portfolio."""
    portfolio = group.portfolio
    if portfolio is None or len(group.members) < 2:
        return []
    found = []
    shares = portfolio.risk_shares
    if shares is not None:
        largest = max(range(len(shares)), key=shares.__getitem__)
        if shares[largest] > (_CARRIES_OF_TWO if len(shares) == 2 else _CARRIES):
            found.append(
                f"{group.members[largest].label} carries {percent(100.0 * shares[largest], 0)} of the portfolio's "
                "risk; the others hardly matter."
            )
    total = portfolio.rebalanced.total_return
    if len(group.members) > 2:
        for place, market in enumerate(group.members):
            rest = portfolio.without(place)
            if rest is not None and total > 0.0 >= rest.total_return:
                found.append(
                    f"the profit is that of one market: without {market.label} the portfolio makes "
                    f"{percent(rest.total_return, signed=True)} instead of {percent(total, signed=True)}."
                )
    return found


def _of_sameness(together: Together) -> list[str]:
    """Markets that are the same under another name."""
    groups = defaultdict(list)
    for market in together.markets:
        groups[market.baseline.candles.symbol].append(market)
    again = [name for name, markets in groups.items() if name and len(markets) > 1]
    if not again:
        return []
    named = ", ".join(again[:_MOST_NAMED]) + (" and others" if len(again) > _MOST_NAMED else "")
    return [f"{named}: one market in several timeframes or venues is one market, however many rows it has."]
