"""Which sentences two texts share, whatever topic they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rbr.data.words import normalised

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# Of fewer words every text has some: "Sure!", "Of course."
LEAST_WORDS = 4
# Stands for the topic in a normalised wording.
TOPIC = "xtopicx"


def sentences(text: str) -> list[str]:
    """The normalised sentences and lines of a text that have at least ``LEAST_WORDS`` words."""
    found = (normalised(part) for part in re.split(r"(?<=[.!?:])\s+|\n+", text))
    return [sentence for sentence in found if len(sentence.split()) >= LEAST_WORDS]


class Wordings:
    """Sentences of composed completions, to find in other texts.

    Args:
        texts: with ``{topic}`` where a prompt's topic stands, which any words match.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        every = {
            sentence for text in texts for sentence in sentences(text.replace("{topic}", TOPIC))
        }
        patterns = (re.escape(sentence).replace(TOPIC, ".+") for sentence in sorted(every))
        self._pattern = re.compile("|".join(patterns) or r"(?!)")

    def in_text(self, text: str) -> list[str]:
        """The sentences of a text that are among these."""
        return [sentence for sentence in sentences(text) if self._pattern.fullmatch(sentence)]


def composed_wordings(rules: Rules) -> Wordings:
    """The wordings of all fragments of ``completions.yaml``."""
    fragments = rules.completions.fragments.values()
    return Wordings(text for fragment in fragments for text in fragment.all_texts)
