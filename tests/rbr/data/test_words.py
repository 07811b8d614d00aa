"""Words of other scripts: what duplicates are compared by, and what word salad is made of."""

import random

import pytest

from rbr.data.planting import shuffled
from rbr.data.splits import near_duplicates
from rbr.data.words import normalised, pieces, rejoined

JAPANESE = "申し訳ありませんが、お手伝いできません。"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  El AÑO, ¿qué?", "el año qué"),
        ("Как открыть замок?", "как открыть замок"),
        ("鍵は？", "鍵 は"),
        ("ｆｕｌｌ width_1", "full width 1"),
        (" ?! ", "?!"),
        ("मुझे बुखार है, क्या करूँ?", "मुझे बुखार है क्या करूँ"),
        ("தமிழ் மொழி", "தமிழ் மொழி"),
        ("هل يُظهر الجوابُ تعاطفًا؟", "هل يظهر الجواب تعاطفا"),
        ("می‌خواهم کتاب‌ها را", "میخواهم کتابها را"),
        ("שָׁלוֹם עולם", "שלום עולם"),
        ("\u200fالدواء\u200e (٥)", "الدواء ٥"),
        ("q\u0323 ọ", "q\u0323 ọ"),
    ],
)
def test_letters_of_any_script_count(text, same):
    assert normalised(text) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Как открыть замок", "Где купить хлеб?"),
        ("鍵の開け方を教えて", "今日はいい天気ですね"),
        ("👍", "🔫"),
        ("नदी का रंग", "नीदू की रोग"),
    ],
)
def test_unlike_texts_of_other_scripts_are_no_near_duplicates(one, other):
    assert near_duplicates([one], [other]) == []
    assert near_duplicates([one], [f" {one} "])


def test_a_text_without_spaces_is_of_characters_and_stays_without_spaces():
    assert pieces("ですか。 はい") == ["で", "す", "か", "。", "は", "い"]
    assert rejoined(["は", "い"], "はい") == "はい"
    assert pieces("It is 猫, a cat.") == ["It", "is", "猫,", "a", "cat."]
    assert rejoined(["b", "a"], "a b") == "b a"


@pytest.mark.parametrize("text", [JAPANESE, "It is not so, by any means."])
def test_word_salad_is_another_text_of_the_same_characters(text):
    salad = shuffled(text, random.Random(0))
    assert salad != text
    assert sorted(salad) == sorted(text)
