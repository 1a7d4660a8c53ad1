"""The story of one trade: why it was signalled, at which tier it was filled and why there, and why it was left.

    for line in told(story_of(result, 7)):
        print(line)

Everything is derived from the records and, where they are silent, from doing the one program again (`replay`).
"""

from barwise.story.replay import Replay, replay
from barwise.story.telling import overview_of, story_of
from barwise.story.words import told, told_overview

__all__ = ["Replay", "overview_of", "replay", "story_of", "told", "told_overview"]
