"""Words of any script: some are written without spaces between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Japanese, Chinese, Thai, Lao, Burmese and Khmer are written without spaces.
UNSPACED = (
    r"\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
PIECE = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
# What ends a sentence beside . ! and ?, of Chinese and Japanese, and of Arabic, Urdu and Indic scripts.
WIDE_STOPS, STOPS = "。！？", "؟۔।॥"
# Vowel signs and accents that stand apart from their letter, which to `re` are none; a word has them within.
_MARKS = r"\u0300-\u036f\u0483-\u0487\u0711\u0730-\u074a\u07a6-\u07b0\u0900-\u0963\u0966-\u0dff"
# Vowel points of Hebrew and Arabic, which most texts leave out, and what only directs a line or joins letters.
_OPTIONAL = re.compile(
    r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670\u06d6-\u06ed"
    r"\u00ad\u200c-\u200f\u202a-\u202e\u2066-\u2069]"
)
_WORD = re.compile(rf"[{UNSPACED}]|(?:[^\W_{UNSPACED}]|[{_MARKS}])+")
_UNSPACED = re.compile(rf"[{UNSPACED}]")


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces: what duplicates are compared by.

    Vowel points that a text may leave out do not count. Of scripts that put no spaces between words each
    character counts as one. A text without letters and digits stays as it is: two of them are not the same.
    """
    plain = _OPTIONAL.sub("", unicodedata.normalize("NFKC", text).lower())
    return " ".join(_WORD.findall(plain)) or text.strip()


def pieces(text: str) -> list[str]:
    """The words of a text, with their punctuation; of a text that puts no spaces, its characters."""
    return PIECE.findall(text) if _unspaced(text) else text.split()


def rejoined(words: Iterable[str], text: str) -> str:
    """Pieces of a text, in another order or number, with spaces between them if it has such."""
    return ("" if _unspaced(text) else " ").join(words)


def _unspaced(text: str) -> bool:
    # By most of its characters: a foreign name does not change how a text is written.
    return 2 * len(_UNSPACED.findall(text)) > len("".join(text.split()))
