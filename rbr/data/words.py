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
_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_UNSPACED = re.compile(rf"[{UNSPACED}]")


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces: what duplicates are compared by.

    Of scripts that put no spaces between words each character counts as one. A text without letters and
    digits stays as it is: two of them are not the same.
    """
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).lower())) or text.strip()


def pieces(text: str) -> list[str]:
    """The words of a text, with their punctuation; of a text that puts no spaces, its characters."""
    return PIECE.findall(text) if _unspaced(text) else text.split()


def rejoined(words: Iterable[str], text: str) -> str:
    """Pieces of a text, in another order or number, with spaces between them if it has such."""
    return ("" if _unspaced(text) else " ").join(words)


def _unspaced(text: str) -> bool:
    # By most of its characters: a foreign name does not change how a text is written.
    return 2 * len(_UNSPACED.findall(text)) > len("".join(text.split()))
