"""What supervised fine-tuning learns from."""

import random
from collections import Counter

import pytest

from rbr.data.rows import Comparison, Message, PolicyPrompt, Preference
from rbr.training.demonstrations import answers_and_refusals, demonstrations, evenly
from rbr.training.options import SFTOptions


@pytest.mark.parametrize("count", [0, 1, 5, 12, 100])
def test_refusals_are_drawn_evenly_and_a_small_group_again_and_again(count):
    groups = [
        [(f"{name}{i}", "no") for i in range(size)] for name, size in (("hard", 50), ("soft", 4))
    ]
    drawn = Counter(name for name, _ in evenly(groups, count, random.Random(0)))
    by_group = Counter(dict.fromkeys(("hard", "soft"), 0))
    for name, times in drawn.items():
        by_group[name[:4]] += times
    assert sum(by_group.values()) == count
    assert abs(by_group["hard"] - by_group["soft"]) <= 1
    for name in ("hard", "soft"):
        times = [n for drawn_name, n in drawn.items() if drawn_name.startswith(name)]
        # None a second time before all of its group had their first.
        assert max(times, default=0) <= -(-by_group[name] // (50 if name == "hard" else 4))


def test_without_refusals_to_learn_from_there_are_none():
    assert evenly([], 10, random.Random(0)) == []


@pytest.mark.parametrize(
    "written, found", [(1000, (80, 20)), (80, (80, 20)), (40, (40, 10)), (0, (0, 0))]
)
def test_the_share_of_answers_holds_where_they_run_out(written, found):
    assert answers_and_refusals(SFTOptions(safety_demos=100, comply_share=0.8), written) == found


def test_with_no_answers_wanted_all_are_refusals():
    assert answers_and_refusals(SFTOptions(safety_demos=10, comply_share=0.0), 5) == (0, 10)


def asked(text):
    return (Message(role="user", content=text),)


HELPFUL = [
    Preference(
        id=f"h{i}", family=f"h{i}", conversation=asked(f"h{i}"), chosen="help", rejected="no help"
    )
    for i in range(30)
]
HUMAN = [
    Preference(
        id=f"p{i}", family=f"p{i}", conversation=asked(f"p{i}"), chosen="human", rejected="other"
    )
    for i in range(30)
]
PROMPTS = [
    PolicyPrompt(
        id=f"s{i}", family=f"s{i}", category="K-C", kind="any", topic="it",
        conversation=asked(f"s{i}"), response_type="comply", answer="written", partial="well",
    )
    for i in range(30)
]  # fmt: skip
COMPARISONS = [
    Comparison(
        id=f"{source}{label}{i}", prompt_id=f"c{i}", family=f"c{i}", response_type="hard_refusal",
        label=label, source=source, conversation=asked(f"c{i}"), completion=f"{source} {label}",
        true=(), graded=(), label_probability=1.0, confirmed=True,
    )
    for i in range(30)
    for label in ("ideal", "disallowed")
    for source in ("composed", "generated")
]  # fmt: skip
LABELS = {"hard_refusal": ["ideal"]}
OPTIONS = SFTOptions(helpful_demos=20, safety_demos=10, comply_share=0.6)


@pytest.mark.parametrize(
    ("human", "comparisons", "found"),
    [
        (None, None, {"help": 20}),
        (HUMAN, None, {"help": 20, "human": 10}),
        (None, COMPARISONS, {"help": 20, "written": 6, "composed ideal": 4}),
    ],
    ids=["none", "human", "rules"],
)
def test_safety_prompts_are_answered_by_nobody_people_or_the_rules(human, comparisons, found):
    def drawn(seed):
        return demonstrations(
            HELPFUL, human, comparisons, LABELS, list(LABELS), PROMPTS, OPTIONS, seed=seed
        )

    chosen = drawn(0)
    assert Counter(answer for _, answer in chosen) == found
    assert chosen == drawn(0)
    assert chosen != drawn(1)


def test_types_to_comply_with_share_their_part_evenly_and_composed_ones_replace_written():
    passed_on = [
        row.model_copy(update={"response_type": "hand_over", "completion": f"over {row.label}"})
        for row in COMPARISONS
        if row.source == "composed"
    ]
    labels = {**LABELS, "hand_over": ["ideal"], "comply": []}
    answered = [
        row.model_copy(update={"response_type": "hand_over", "answer": "not learnt"})
        for row in PROMPTS
    ]
    chosen = demonstrations(
        HELPFUL, None, [*COMPARISONS, *passed_on], labels, ["hard_refusal"], [*PROMPTS, *answered],
        OPTIONS, seed=0,
    )  # fmt: skip
    assert Counter(answer for _, answer in chosen) == {
        "help": 20, "written": 3, "over ideal": 3, "composed ideal": 4,
    }  # fmt: skip
