"""Hints are written for callers of the package; whoever types commands gets the same in the words of the command line.

Nothing below may know that there is a command line, so the translation stands here, as a list of what is said there.
"""

import re

_IN_OPTIONS = (
    (r'audit="report" lists', "barwise data check FILE lists"),
    (r"candles\.audit says", "barwise data check FILE says"),
    (r'conflicts="first" or conflicts="last" keeps', "barwise data import FILE --set conflicts=first (or last) keeps"),
    (r"check_lookahead\(\) lists every place, check_lookahead=False runs", "--no-lookahead-check runs"),
    (r"pass timeframe=(\w+)", r"name it: --timeframe \1"),
    (r'name it, for example timeframe="(\w+)"', r"name it, for example --timeframe \1"),
    (r"name both: Candles\.of\(candles, exchange=\.\.\., symbol=\.\.\.\)", "name both: --exchange and --symbol"),
    (r"give a start and an end, and they are downloaded", "give --start and --end, and they are downloaded"),
    (r"candles\.between\((?:start, end|\.\.\.)\)", "--start and --end"),
    (r"for example qty=", "for example --qty "),
    (r"or set lot_size", "or --set lot_size=0"),
    (r"give milliseconds since 1970 UTC, a datetime, or an ISO string such as", "give a time such as 2025-01-01 or"),
    (
        r"WalkForwardConfig\(is_length_days=\.\.\., oos_length_days=\.\.\.\)",
        "--set walk_forward.is_length_days=DAYS --set walk_forward.oos_length_days=DAYS",
    ),
    (r'ranges=\{"(\w+)": \((\w+), (\w+)\)\}', r'--set "optimization.ranges={\1 = [\2, \3]}"'),
    (
        r"ExecutionConfig\(maker_fee=, taker_fee=\) or ExecutionConfig\(fees=FeeSchedule\(\.\.\.\)\)",
        "--set maker_fee=RATE --set taker_fee=RATE, or --set fees=NAME",
    ),
)


def in_options(hint: str) -> str:
    """What a hint says, with options in the place of Python's arguments."""
    for in_python, words in _IN_OPTIONS:
        hint = re.sub(in_python, words, hint)
    return hint
