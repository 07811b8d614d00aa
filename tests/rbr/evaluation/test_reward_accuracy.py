"""A reward judged by itself: credits by hand, RewardBench 2's ties, groups, and a log to go on from."""

import math

import numpy as np
import pytest

from rbr.data.rows import Message, Ranked
from rbr.evaluation.reward_accuracy import (
    MEAN_OF_SUBSETS,
    Credit,
    Rewards,
    accuracies,
    credits_of,
    first_share,
    rewards_of,
    tie_score,
)
from rbr.files import read_log
from rbr.reward.rule_based_reward import RuleBasedReward
from tests.fakes import FixedGrader, FixedScorer, drawn_weights


def ranked(number=0, rejected=("b",), **fields):
    values = {
        "id": f"r{number}",
        "family": f"f{number}",
        "subset": "s",
        "conversation": (Message(role="user", content=f"q{number}"),),
        "chosen": ("a",),
        "rejected": rejected,
    }
    return Ranked(**{**values, **fields})


@pytest.mark.parametrize(
    ("rewards", "right", "credit"),
    [
        ([2, 1], 1, 1),
        ([1, 2], 1, 0),
        ([1, 1], 1, 0.5),
        ([3, 1, 2, 0], 1, 1),
        ([3, 3, 3, 0], 1, 1 / 3),
        ([3, 3, 0], 2, 1),
        ([2, 3, 3, 0], 2, 0.5),
    ],
)
def test_the_credit_is_the_share_of_right_ones_among_the_highest(rewards, right, credit):
    assert first_share(rewards, right) == pytest.approx(credit)


@pytest.mark.parametrize(
    ("reference", "tied", "score"),
    [
        # Gaps 5 and 4, spread 1: all hold.
        ([5, 0], [5, 4, 0], 1 + 0.01 * math.tanh(3)),
        # The tied gap is smaller than the spread.
        ([5, 0], [9, 1, 0], 0.6 + 0.01 * math.tanh(1 / 8 - 1)),
        # The reference's gap alone is smaller than the spread.
        ([0.5, 0], [5, 4, 0], 0.8 + 0.01 * math.tanh(-0.5)),
        ([0, 5], [5, 4, 0], 0.5 + 0.01 * math.tanh(-6)),
        ([0, 5], [0, 1, 2], 0.01 * math.tanh(-6)),
        # Right answers that are not apart leave the last term out.
        ([5, 0], [4, 4, 0], 1),
    ],
)
def test_ties_are_scored_as_rewardbench_2_does(reference, tied, score):
    assert tie_score(reference, tied, 2) == pytest.approx(score)


def test_both_rows_of_a_tie_give_one_credit():
    rows = [
        ranked(1, chosen=("a", "b"), rejected=("c",), tie="tied", family="t", subset="Ties"),
        ranked(2, tie="reference", family="t", subset="Ties"),
        ranked(3, rejected=("b", "c", "d")),
    ]
    found = credits_of(
        rows,
        [Rewards([4, 4, 0], [0, 4, 0]), Rewards([5, 0], [5, 0]), Rewards([1] * 4, [0, 0, 2, 0])],
    )
    assert [(c.reward_model, c.total) for c in found] == [
        pytest.approx((1.0, 0.3 + 0.01 * math.tanh(-1))), (0.25, 0.0),
    ]  # fmt: skip
    assert math.isnan(found[0].chance) and found[1].chance == 0.25


def credits(subset, right, total, response_type=None):
    return [
        Credit(
            ranked(n, subset=subset, family=f"{subset}{n // 2}", response_type=response_type),
            float(n < right), float(n < total), 0.5,
        )
        for n in range(20)
    ]  # fmt: skip


def test_groups_are_all_subsets_their_mean_and_response_types():
    found = credits("x", 10, 16) + credits("y", 12, 12, "comply")[:10]
    groups = accuracies(found, 500)
    assert list(groups) == ["all", MEAN_OF_SUBSETS, "x", "y", "as comply"]
    assert (groups["x"]["prompts"], groups["x"]["families"]) == (20, 10)
    assert groups["x"]["reward_model"][0] == 0.5
    assert groups["x"]["total"][0] == 0.8
    assert groups["x"]["difference"][0] == pytest.approx(0.3)
    # Three families of two prompts differ, all the one way.
    assert groups["x"]["p_value"] == pytest.approx(2 / 8)
    assert groups["x"]["p_holm"] == pytest.approx(2 * 2 / 8)
    assert groups["all"]["total"][0] == pytest.approx(26 / 30)
    assert groups[MEAN_OF_SUBSETS]["total"][0] == pytest.approx((0.8 + 1) / 2)
    assert groups["as comply"]["difference"][0] == 0
    for group in groups.values():
        for name in ("reward_model", "total", "difference"):
            value, low, high = group[name]
            assert low <= value <= high


def test_intervals_are_over_families_of_prompts():
    alike = credits("x", 10, 10)
    alone = [Credit(ranked(n), c.reward_model, c.total, 0.5) for n, c in enumerate(alike)]
    (_, low, high), (_, from_, to) = (accuracies(found)["all"]["total"] for found in (alike, alone))
    assert high - low > 1.25 * (to - from_)


@pytest.fixture
def reward(rules):
    return RuleBasedReward(
        rules, drawn_weights(rules), FixedGrader(rules.proposition_names), FixedScorer()
    )


def rows_of(count):
    types = [None, "comply", "hard_refusal"]
    return [
        ranked(n, rejected=("b", "c") if n % 2 else ("b",), response_type=types[n % 3])
        for n in range(count)
    ]


def test_rewards_are_those_of_the_reward_called_on_each_answer(reward):
    rows = rows_of(30)
    for row, found in zip(rows, rewards_of(rows, reward), strict=True):
        texts = [*row.chosen, *row.rejected]
        asked = [[{"role": "user", "content": row.conversation[0].content}]] * len(texts)
        assert found.total == pytest.approx(reward(asked, texts, [row.response_type] * len(texts)))
        alone = reward(asked, texts, [None] * len(texts))
        assert found.reward_model == pytest.approx(alone)
        assert (found.total == found.reward_model) == (row.response_type is None)


def test_r_rm_is_told_where_the_reward_leaves_it_out(rules, reward):
    without = RuleBasedReward(
        rules, drawn_weights(rules), reward.grader, FixedScorer(), on_safety_prompts=False
    )
    rows = rows_of(6)
    left_out = rewards_of(rows, without)
    assert [r.reward_model for r in left_out] == [r.reward_model for r in rewards_of(rows, reward)]
    assert np.any(left_out[1].total != np.array(left_out[1].reward_model) + 0)


def test_a_stopped_run_goes_on_from_its_log(reward, tmp_path, monkeypatch):
    monkeypatch.setattr("rbr.evaluation.reward_accuracy.PORTION", 6)
    kept, rows, steps = tmp_path / "rewards.jsonl", rows_of(20), []

    def stop(done, total):
        steps.append((done, total))
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewards_of(rows, reward, kept, stop)
    done = len(read_log(kept))
    assert 8 <= done < 20 and steps[-1] == (done, 20)
    with kept.open("a") as file:
        file.write('{"row": 19, "id"')  # torn by the kill
    asked = []
    monkeypatch.setattr(
        reward.grader,
        "grade",
        lambda c, t, *_: asked.extend(t) or FixedGrader.grade(reward.grader, c, t),
    )
    found = rewards_of(rows, reward, kept)
    left = [
        text for row in rows[done:] if row.response_type for text in (*row.chosen, *row.rejected)
    ]
    assert asked == left
    assert found == rewards_of(rows, reward)
    assert [row["row"] for row in read_log(kept)] == list(range(20))
