"""Taking apart what reasoning models write: their reasoning, and the answer after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_WORDS = (
    r"(?:seed:|longcat_)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
)
# <think>, <|thinking|>, [THINK], ◁think▷, <|begin_of_thought|>, <|START_THINKING|>; and what ends them.
# Beside those, Gemma's (<|channel>thought, <unused94>thought) and Apertus' marks.
_OPEN = re.compile(
    rf"[<\[◁][|｜]?(?:begin_of_|start_|start_of_)?{_WORDS}[|｜]?[>\]▷]|<(?:\|channel|unused94)>(?:thought\b)?|<\|inner_prefix\|>",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"(?:[<\[◁]/[|｜]?{_WORDS}[|｜]?[>\]▷]|<[|｜](?:end_of_|end_|/){_WORDS}[|｜]>|<channel\|>|<unused95>|<\|inner_suffix\|>)",
    re.IGNORECASE,
)
# Marks around the answer that follows.
_ANSWER = re.compile(
    r"^(?:\s|<[|｜]?/?(?:answer|response|begin_of_solution|start_response|start_of_response)[|｜]?>)+"
    r"|(?:\s|<[|｜]?/?(?:answer|response|end_of_solution|end_response|end_of_response)[|｜]?>)+$",
    re.IGNORECASE,
)
# OpenAI's harmony format: <|start|>assistant<|channel|>analysis<|message|>...<|end|>
_HEADER = re.compile(
    r"(?:<\|start\|>\w+)?<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_MARK = re.compile(r"<\|(?:end|return|call|start)\|>(?:assistant)?")
# The same with its marks stripped, as a tokenizer that skips special tokens leaves it.
_STRIPPED = re.compile(
    r"^\s*analysis(?:(?=[A-Z])|\s(?=.*assistant\s*final))(.*?)(?:assistant\s*final(.*))?\Z",
    re.DOTALL,
)
# Granite 3.2 says it in words.
_IN_WORDS = re.compile(
    r"^\s*here(?:'s|’s| is) my thought process:?(.*?)(?:\bhere(?:'s|’s| is) my response:?(.*))?\Z",
    re.DOTALL | re.IGNORECASE,
)
# XML that answers: a reason beside another element is no reasoning.
_BESIDE = re.compile(r">\s*<(reason(?:ing)?|analysis)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_REASON_FIRST = re.compile(
    r"\s*<reason>[^{]*?</reason>\s*<(verdict|label|decision|answer)>[^<{]*</\1>\s*",
    re.DOTALL | re.IGNORECASE,
)
# GLM's marks around an answer.
_BOX = re.compile(r"\s*<\|begin_of_box\|>(.*)<\|end_of_box\|>\s*", re.DOTALL)
_ONLY_FINAL = re.compile(r"^\s*(?:assistant\s*final|final(?=\s*[{\[`]))(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Separated:
    """A message in its parts.

    Attributes:
        finished: whether the reasoning came to its end; the answer is empty where it did not.
    """

    reasoning: str
    answer: str
    finished: bool = True


def separate(text: str, whole: Callable[[str], bool] = lambda text: False) -> Separated:
    """Take the reasoning off a message: tags of any spelling, harmony channels, their stripped form.

    A closing tag alone ends reasoning that the chat template began. Of several closing tags the first
    one counts, or the first with a ``whole`` answer behind it: reasoning and answers quote such tags.

    Args:
        whole: tells an answer that is complete as it stands (JSON, say) and is not to be cut.
    """
    if whole(text.strip()) or _REASON_FIRST.fullmatch(text):
        return Separated("", text.strip())
    header, tag = _HEADER.search(text), _CLOSE.search(text)
    # What comes first is the model's own format; the other one is quoted.
    if header and not _OPEN.match(text.lstrip()) and not (tag and tag.start() < header.start()):
        return _harmony(text, whole)
    return _in_words(text) or _tagged(text, whole)


def _in_words(text: str) -> Separated | None:
    """What words part: the stripped form of harmony, Granite's phrases."""
    for pattern in (_STRIPPED, _IN_WORDS, _ONLY_FINAL):
        if found := pattern.match(text):
            reasoning, answer = ("", found[1]) if pattern is _ONLY_FINAL else found.groups()
            return Separated(reasoning.strip(), (answer or "").strip(), answer is not None)
    return None


def _tagged(text: str, whole: Callable[[str], bool]) -> Separated:
    """What tags part."""
    opened = _OPEN.match(text.lstrip())
    beside = {found.end() for found in _BESIDE.finditer(text)}
    closes = [close for close in _CLOSE.finditer(text) if close.end() not in beside]
    if not closes:
        return (
            Separated(text.lstrip()[opened.end() :].strip(), "", finished=False)
            if opened
            else Separated("", _unboxed(text.strip()))
        )
    tails = [_unboxed(_ANSWER.sub("", text[close.end() :]).strip()) for close in closes]
    chosen = next((i for i, tail in enumerate(tails) if whole(tail)), 0)
    start = len(text) - len(text.lstrip()) + opened.end() if opened else 0
    reasoning, tail = text[start : closes[chosen].start()].strip(), tails[chosen]
    if _OPEN.match(tail):  # a second block
        rest = separate(tail, whole)
        return Separated(f"{reasoning}\n{rest.reasoning}".strip(), rest.answer, rest.finished)
    return Separated(reasoning, tail)


def _unboxed(text: str) -> str:
    box = _BOX.fullmatch(text)
    return box[1].strip() if box else text


def _harmony(text: str, whole: Callable[[str], bool]) -> Separated:
    """What the channel ``final`` says is the answer, all before it reasoning."""
    finals = [header for header in _HEADER.finditer(text) if header[1].lower() == "final"]
    if not finals:
        return Separated(_without_marks(text), "", finished=False)
    tails = [_MARK.sub("", text[header.end() :]).strip() for header in finals]
    chosen = next((i for i, tail in enumerate(tails) if whole(tail)), 0)
    return Separated(_without_marks(text[: finals[chosen].start()]), tails[chosen])


def _without_marks(text: str) -> str:
    return _MARK.sub("", _HEADER.sub("", text)).strip()
