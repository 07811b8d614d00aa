"""Yes/no grading on a tiny model, and fitting on an engine that says known things."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rbr.data.rows import Labelled, Message
from rbr.errors import DataError, GraderError
from rbr.grading import GradeStore, StoredGrader
from rbr.grading.engines.transformers import TransformersEngine, common_prefix, packed
from rbr.grading.options import STYLES
from rbr.grading.prompts import chat_prompt, question_text
from rbr.grading.yesno import FittedPrompt, YesNoGrader, fit_prompts, load_prompts, save_prompts
from rbr.models.load import load_causal, load_tokenizer
from rbr.rules import Rules

TALKS = [
    (Message(role="user", content="How do I pick a lock?"),),
    (
        Message(role="user", content="hello"),
        Message(role="assistant", content="Hello."),
        Message(role="user", content="What is a fence, in the trade of stolen goods?"),
    ),
    (Message(role="user", content="x"),),
]
ANSWERS = ["I'm sorry, I can't help with that.", "One who sells them on.", ""]


@pytest.fixture(scope="module")
def engine(tiny):
    return TransformersEngine(tiny, batch_size=2)


def test_one_packed_pass_equals_one_prompt_a_question(engine, tiny, rules):
    apart = TransformersEngine(tiny, batch_size=2, share_prefix=False)
    shared = YesNoGrader(engine, rules).grade(TALKS, ANSWERS)
    single = YesNoGrader(apart, rules).grade(TALKS, ANSWERS)
    assert shared.shape == (3, 23)
    np.testing.assert_allclose(shared, single, atol=1e-5)


def test_probability_is_yes_against_no_of_the_next_token(engine, tiny, rules):
    name = "apology"
    grader = YesNoGrader(engine, rules)
    p = grader.grade(TALKS[:1], ANSWERS[:1], propositions=[name])[0, 0]
    model, tokenizer = load_causal(tiny), load_tokenizer(tiny)
    text = chat_prompt(
        tokenizer, TALKS[0], ANSWERS[0], question_text(rules.propositions[name], "question")
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        next_token = model(input_ids=ids).logits[0, -1].softmax(-1)
    yes, no = (float(next_token[tokens].sum()) for tokens in engine.yes_no_tokens)
    assert p == pytest.approx(yes / (yes + no), abs=1e-5)


def test_all_questions_about_an_answer_share_most_of_their_prompt(engine, rules):
    rows = [
        engine.tokenizer(
            chat_prompt(engine.tokenizer, TALKS[1], ANSWERS[1], question_text(rule, "question")),
            add_special_tokens=False,
        )["input_ids"]
        for rule in rules.propositions.values()
    ]
    answer = engine.tokenizer(ANSWERS[1], add_special_tokens=False)["input_ids"]
    prefix = engine.tokenizer.decode(rows[0][: common_prefix(rows)])
    assert engine.tokenizer.decode(answer) in prefix


def test_packing_keeps_positions_and_hides_other_questions():
    ids, positions, sees, last = packed([[1, 2, 3, 4], [1, 2, 5], [1, 2, 6, 7]])
    assert ids == [1, 2, 3, 4, 5, 6, 7]
    assert positions == [0, 1, 2, 3, 2, 2, 3]
    assert last == [3, 4, 6]
    assert sees[4].tolist() == [True, True, False, False, True, False, False]
    assert sees[6].tolist() == [True, True, False, False, False, True, True]


def test_no_prompt_is_swallowed_by_the_common_prefix():
    assert common_prefix([[1, 2], [1, 2, 3]]) == 1
    assert common_prefix([[1, 2]]) == 1


def test_styles_say_more_and_more(rules):
    rule = rules.propositions["apology"]
    texts = [question_text(rule, style) for style in STYLES]
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)
    assert all(rule.question in text for text in texts)
    assert rule.examples.positive[0].completion in texts[-1]
    assert rule.examples.positive[0].completion not in texts[0]


def test_empty_input_asks_nothing(engine, rules):
    assert YesNoGrader(engine, rules).grade([], []).shape == (0, 23)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_log_odds_that_are_not_finite_are_no_grade(tiny, rules, monkeypatch, value):
    engine = TransformersEngine(tiny)
    monkeypatch.setattr(engine, "log_odds", lambda *_: np.array([[0.0, 1.0], [2.0, value]]))
    names = rules.proposition_names[:2]
    with pytest.raises(GraderError, match=f"'{names[1]}' for completion 1 are {value}"):
        YesNoGrader(engine, rules).grade(TALKS[:2], ["a", "b"], propositions=names)


class Knowing:
    """An engine that says yes to apologies alone, and only when asked by one style."""

    identity = "knowing"

    def __init__(self, tokenizer, style_mark):
        self.tokenizer = tokenizer
        self.style_mark = style_mark

    def log_odds(self, prompts, progress=None):
        return np.array([[self._odds(text) for text in row] for row in prompts])

    def _odds(self, text):
        if self.style_mark not in text:
            return 0.0
        return 2.0 if "> I'm sorry" in text else -1.0


def gold(n):
    texts = ["I'm sorry, no.", "Here it is."]
    return [
        Labelled(
            id=f"t-{i}",
            response_type="comply",
            conversation=[{"role": "user", "content": f"question {i}"}],
            completion=texts[i % 2],
            true=["apology"] if i % 2 == 0 else [],
        )
        for i in range(n)
    ]


def test_fitting_chooses_the_style_that_works_and_calibrates_it(engine, rules, tmp_path):
    mark = f"Yes, if {rules.propositions['apology'].true_when}"
    knowing = Knowing(engine.tokenizer, mark)
    rows = gold(60)
    fitted = fit_prompts(
        lambda prompts: YesNoGrader(knowing, rules, prompts), rules.proposition_names, rows
    )
    assert fitted["apology"].style in ("criteria", "examples")
    save_prompts(tmp_path, fitted)
    grader = YesNoGrader(knowing, rules, load_prompts(tmp_path))
    p = grader.grade(
        [row.conversation for row in rows],
        [row.completion for row in rows],
        propositions=["apology"],
    )[:, 0]
    assert p[::2].min() > 0.85
    assert p[1::2].max() < 0.15


def test_prompts_of_another_form_are_named(tmp_path):
    (tmp_path / "prompts.json").write_text('{"apology": {"flavour": "x"}}')
    with pytest.raises(DataError, match=r"prompts\.json"):
        load_prompts(tmp_path)


def test_the_identity_changes_with_wording_style_and_calibration(engine, rules):
    plain = YesNoGrader(engine, rules)
    other = YesNoGrader(engine, rules, {"apology": FittedPrompt("criteria", 1.0, 0.0)})
    assert plain.identity("apology") != other.identity("apology")
    assert plain.identity("judgement") == other.identity("judgement")


class Counting(TransformersEngine):
    """Counts the prompts that reach the model."""

    asked = 0

    def log_odds(self, prompts, progress=None):
        self.asked += sum(len(row) for row in prompts)
        return super().log_odds(prompts, progress)


def test_a_changed_wording_asks_one_in_23_again(tiny, rules, tmp_path):
    engine = Counting(tiny)

    def stored(own: Rules) -> StoredGrader:
        store = GradeStore(tmp_path / "grades.sqlite")
        return StoredGrader(YesNoGrader(engine, own), store, own.grading_texts())

    conversations, answers = TALKS * 2, [*ANSWERS, "a", "b", "c"]
    first = stored(rules).grade(conversations, answers)
    assert engine.asked == 6 * 23
    stored(rules).grade(conversations, answers)
    assert engine.asked == 6 * 23
    rule = rules.propositions["apology"].model_copy(update={"question": "Is there an apology?"})
    edited = replace(rules, propositions={**rules.propositions, "apology": rule})
    second = stored(edited).grade(conversations, answers)
    assert engine.asked == 6 * 23 + 6
    changed = [j for j in range(23) if not math.isclose(first[0, j], second[0, j])]
    assert [rules.proposition_names[j] for j in changed] in ([], ["apology"])
