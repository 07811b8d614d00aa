"""Yes and no as models write them: words of several languages, numbers, shares; and refusals to say it."""

from __future__ import annotations

import math
import re

YES = frozenset(
    [
        "true",
        "yes",
        "y",
        "t",
        "correct",
        "holds",
        "present",
        "positive",
        "satisfied",
        "met",
        "1",
        "ja",
        "wahr",
        "stimmt",
        "oui",
        "vrai",
        "sí",
        "si",
        "sì",
        "sim",
        "verdadero",
        "verdadeiro",
        "vero",
        "да",
        "верно",
        "истина",
        "так",
        "tak",
        "prawda",
        "evet",
        "doğru",
        "是",
        "是的",
        "对",
        "真",
        "はい",
        "真です",
        "예",
        "네",
        "참",
        "نعم",
        "صحيح",
        "हाँ",
        "हां",
        "सही",
        "ναι",
        "kyllä",
        "igen",
        "ano",
        "da",
        "ya",
        "benar",
        "có",
        "đúng",
        "ใช่",
    ]
)
NO = frozenset(
    [
        "false",
        "no",
        "n",
        "f",
        "incorrect",
        "absent",
        "negative",
        "unsatisfied",
        "untrue",
        "unmet",
        "0",
        "nein",
        "falsch",
        "non",
        "faux",
        "falso",
        "não",
        "nao",
        "нет",
        "неверно",
        "ложь",
        "ні",
        "nie",
        "fałsz",
        "hayır",
        "yanlış",
        "否",
        "不",
        "不是",
        "假",
        "错",
        "いいえ",
        "偽",
        "아니요",
        "아니오",
        "거짓",
        "لا",
        "خطأ",
        "नहीं",
        "गलत",
        "όχι",
        "ei",
        "nem",
        "ne",
        "nei",
        "nej",
        "tidak",
        "salah",
        "không",
        "sai",
        "ไม่",
        "ไม่ใช่",
    ]
)
# What stands around a word without changing it.
AROUND = " \t\r\n\u200b\ufeff▁ĠĊ.,:;!*_\"'`#()[]{}<>-–—“”„«»。！，：、✓✔✅✗❌"
# Phrases that are a verdict by themselves: "is not met", "the statement holds".
_SUBJECT = r"(?:(?:the|this)\s+)?(?:statement|proposition|criterion|condition|claim|it)\s+"
_STATES = r"(?:present|met|satisfied|fulfil?led)"
_HOLDING = rf"(?:{_SUBJECT})?(?:is|was)\s+{_STATES}|(?:{_SUBJECT})?does\s+hold|{_SUBJECT}holds"
_FAILING = (
    rf"(?:{_SUBJECT})?(?:(?:(?:is|was)\s+)?not[\s_-]+{_STATES}|(?:is|was)n['’]t\s+{_STATES}"
    r"|(?:does\s+not|doesn['’]t)\s+hold|fails)"
)
_PHRASE = re.compile(
    rf"(?:(?P<yes>{_HOLDING})|(?P<no>{_FAILING}))[*_\"'`]*\s*(?:$|[.,:;!()–—\n-])(?P<rest>.*)",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE]-?\d+)?\s*(%?)")
_LEADING = re.compile(
    r"\s*[*_\"'`]*([^\W_]+)[*_\"'`]*\s*(?:$|[.,:;!()–—\n-]|(?<=\s)(?:because|since)\b)(.*)",
    re.DOTALL,
)
_GRADING = r"(?:assess|evaluate|judge|grade|rate|classify|review|analy[sz]e|determine|score|answer|help|assist|comply|continue|engage|provide|do|process|discuss|respond|fulfil?l)"
_REFUSING = (
    r"(?:I(?:'|’)?m sorry|I am sorry|sorry|apologies|unfortunately|I apologi[sz]e)?[,.:;\s]*(?:but\s+)?"
    r"(?:as an AI[^,.]*[,.]?\s*)?(?:I|we)(?:(?:'|’)m| am)?\s+(?:really |just |simply )?"
    r"(?:can(?:'|’)?t|cannot|can not|could not|couldn(?:'|’)t|won(?:'|’)t|will not|(?:am |are )?(?:unable|not able|not comfortable|not allowed|"
    r"not going|not willing)(?: to| with)?|must decline|have to decline|decline|refuse|don(?:'|’)t feel comfortable)"
)
_REFUSAL = re.compile(rf"\s*(?:no[,.]\s*)?{_REFUSING}\b", re.IGNORECASE)
_WITHOUT_GRADE = re.compile(rf"\s*{_REFUSING}\s*(?:to\s+)?(?:\w+\s+)?({_GRADING})\b", re.IGNORECASE)
# What an answer that is quoted may not do, rather than its judge.
_HELPING = re.compile("help|assist|comply|continue|engage|provide|do|discuss|fulfill?")
# A remark on the quoted words: "I can't help with that: a plain refusal".
_REMARK = re.compile(
    r"(?:[:;,.–—-][\"'”’»]*\s*(?:(?:this|that|it|which)\s+(?:is|was)\s+)?an?\s+(?:\w+\s+){0,2}refusal\b"
    r"|\b(?:it|which|answer|assistant|response|reply)\s+(?:\w+ly\s+)?(?:refuses|declines)\b)"
    r"(?!\s+to\s+(?:judge|grade|assess|evaluate|rate))",
    re.IGNORECASE,
)


def number_of(text: str) -> float | None:
    """A probability: a number from 0 to 1, or a share in percent; None for any other."""
    match = _NUMBER.fullmatch(text.strip())
    if not match:
        return None
    value = float(text.strip().rstrip("% ").replace(",", "."))
    value = value / 100 if match[1] else value
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def probability_of(text: str) -> float | None:
    """What a verdict says, as a probability: 0 or 1 for a word; None where it says neither.

    A word may be followed by its grounds ("Yes, it says sorry"), but by no word of the other side.
    """
    word = text.strip(AROUND).casefold()
    if word in YES:
        return 1.0
    if word in NO:
        return 0.0
    if (number := number_of(text)) is not None:
        return number
    if refuses(text):
        return None
    if phrase := _PHRASE.match(word):
        side = phrase["yes"] is not None
        return None if _contradicts(phrase["rest"], side) else float(side)
    match = _LEADING.match(text)
    leading = match[1].casefold() if match else ""
    for own, side in ((YES, True), (NO, False)):
        if match and leading in own and not leading.isdigit():
            return None if _contradicts(match[2].casefold(), side) else float(side)
    return None


def _contradicts(rest: str, side: bool) -> bool:
    """Whether grounds have a word of the other side; "is not met" is none of yes."""
    rest = rest if side else re.sub(rf"\b(?:{_FAILING})\b", " ", rest)
    return not (NO if side else YES).isdisjoint(re.findall(r"\w+(?:['’]\w+)*", rest))


def refuses(text: str) -> bool:
    """Whether an answer begins as a refusal to give one."""
    return bool(_REFUSAL.match(text))


def refuses_to_grade(reason: str) -> bool:
    """Whether a reason says that there is no verdict, whatever stands beside it.

    One that quotes the refusal which it judges, and says that it is one, is a reason.
    """
    match = _WITHOUT_GRADE.match(reason)
    if match is None:
        return False
    quotes = _HELPING.fullmatch(match[1].casefold()) and _REMARK.search(reason, match.end())
    return not quotes
