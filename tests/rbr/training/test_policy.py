"""A whole policy training: prompts, reward, samples, the saved policy."""

import json
import pickle

import pytest

from rbr.data.rows import HelpfulPrompt, Message, PolicyPrompt
from rbr.errors import DataError
from rbr.files import append_rows
from rbr.models.load import load_causal
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.training.options import LoRAOptions, RLOptions
from rbr.training.policy import last_of_each, mixed_prompts, train_policy
from tests.fakes import FixedGrader, FixedScorer, drawn_weights
from tests.rbr.training.toy import PROMPTS, made

OPTIONS = RLOptions(
    steps=4,
    prompts_per_step=8,
    max_new_tokens=6,
    trained_layers=1,
    save_steps=2,
    sample_steps=2,
    learning_rate=1e-3,
)
TYPES = ("comply", "hard_refusal")


class FirstToken:
    """A picklable reward: the first token's number modulo 7."""

    __name__ = "first_token"

    def __call__(self, completion_ids, response_type, **_):
        assert set(response_type) <= {*TYPES, None}
        return [float(ids[0] % 7) for ids in completion_ids]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return made(tmp_path_factory.mktemp("policy"))


def turns(text):
    return (Message(role="user", content=text),)


def prompts():
    safety = [
        PolicyPrompt.model_construct(
            conversation=turns(text), response_type=TYPES[i % 2], over_refusal=i % 2 == 0
        )
        for i, text in enumerate(PROMPTS[:6])
    ]
    return safety, [HelpfulPrompt.model_construct(conversation=turns(t)) for t in PROMPTS[6:]]


@pytest.mark.parametrize("lora", [None, LoRAOptions(rank=4)], ids=["layers", "adapter"])
@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "rloo"])
def test_a_training_samples_and_saves_a_plain_model(tiny, tmp_path, algorithm, lora):
    samples = []
    target = tmp_path / "model"
    target.mkdir()
    options = OPTIONS.model_copy(update={"algorithm": algorithm, "lora": lora})
    arguments = pickle.loads(
        pickle.dumps((tiny, *prompts(), FirstToken(), tmp_path / "checkpoints", target, options, 0))
    )
    metrics = train_policy(*arguments, on_samples=samples.append)
    assert metrics["rollouts"] == OPTIONS.steps
    history = json.loads((target / "history.json").read_text())
    assert len(history) == OPTIONS.steps
    assert [table[0]["rollout"] for table in samples] == [2, 4]
    every = [json.loads(line) for line in (target / "samples.jsonl").read_text().splitlines()]
    assert [row["rollout"] for row in every] == [2] * 8 + [4] * 8
    assert {row["response_type"] for row in every} == {*TYPES, None}
    for table in samples:
        assert {row["reward"] for row in table} <= set(range(7))
        assert {row["prompt"] for row in table} <= set(PROMPTS)
    saved = load_causal(target).state_dict()
    before = load_causal(tiny).state_dict()
    assert saved.keys() == before.keys()
    changed = {name for name in saved if (saved[name] != before[name]).any()}
    assert changed
    assert all(name.startswith(("model.layers.1.", "model.norm.")) for name in changed)
    assert (target / "adapter").exists() == (lora is not None)


def test_samples_say_what_each_reward_is_made_of(tiny, tmp_path, rules):
    reward = RuleBasedReward(
        rules, drawn_weights(rules), FixedGrader(rules.proposition_names), FixedScorer()
    )
    tables = []
    train_policy(tiny, *prompts(), reward, tmp_path, tmp_path, OPTIONS, 0, on_samples=tables.append)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * OPTIONS.prompts_per_step
    for row in rows:
        parts = row["reward_model"] + sum(row["contributions"].values())
        assert row["reward"] == pytest.approx(parts, rel=1e-5)
        kind = row["response_type"]
        assert set(row["contributions"]) == set(rules.feature_names(kind) if kind else ())
        assert row["completion_class"] in (rules.class_names(kind) if kind else [None])
    assert tables[-1] == rows[-len(tables[-1]) :]
    history = json.loads((tmp_path / "history.json").read_text())
    for rollout in (2, 4):
        kls = [row["kl"] for row in rows if row["rollout"] == rollout]
        assert sum(kls) / len(kls) == pytest.approx(history[rollout - 1]["kl"], abs=1e-6)
    assert any(row["kl"] for row in rows)


def test_of_a_rollout_that_was_repeated_after_a_kill_the_last_samples_are_kept(tmp_path):
    kept = tmp_path / "samples.jsonl"
    for attempt, rollouts in enumerate([(2, 4, 6), (4, 6, 8)]):
        append_rows(
            kept, [{"rollout": r, "attempt": attempt, "n": n} for r in rollouts for n in (0, 1)]
        )
    found = [(row["rollout"], row["attempt"], row["n"]) for row in last_of_each(kept)]
    assert found == [(2, 0, 0), (2, 0, 1)] + [(r, 1, n) for r in (4, 6, 8) for n in (0, 1)]


def test_prompts_that_are_all_too_long_are_an_error(tiny, tmp_path):
    options = OPTIONS.model_copy(update={"max_prompt_tokens": 1})
    with pytest.raises(DataError, match=r"raise rl\.max_prompt_tokens"):
        train_policy(tiny, *prompts(), FirstToken(), tmp_path, tmp_path, options, 0)


@pytest.mark.parametrize("share, comply", [(0.5, 20), (0.25, 10), (1.0, 40), (0.0, 0)])
def test_the_comply_share_is_that_of_the_safety_prompts(share, comply):
    safety = [
        PolicyPrompt.model_construct(
            conversation=turns("q"), response_type=kind, over_refusal=kind == "comply"
        )
        for _ in range(50)
        for kind in TYPES
    ]
    helpful = [HelpfulPrompt.model_construct(conversation=turns("q")) for _ in range(20)]
    options = RLOptions(safety_share=2 / 3, comply_share=share)
    rows = mixed_prompts(safety, helpful, 60, options, seed=0)
    kinds = [row["response_type"] for row in rows]
    assert len(rows) == 60
    assert kinds.count("comply") == comply
    assert kinds.count("hard_refusal") == 40 - comply
    assert kinds.count(None) == 20


@pytest.mark.parametrize("kind", TYPES)
def test_a_policy_with_prompts_of_one_kind_trains_on_these(kind):
    safety = [
        PolicyPrompt.model_construct(
            conversation=turns("q"), response_type=kind, over_refusal=kind == "comply"
        )
    ]
    rows = mixed_prompts(safety, [], 8, RLOptions(comply_share=0.25), seed=0)
    assert [row["response_type"] for row in rows] == [kind] * 8


def test_without_any_prompts_the_kind_that_is_missing_is_named():
    with pytest.raises(DataError, match=r"^no safety prompts to refuse, but 16 are asked for"):
        mixed_prompts([], [], 16, OPTIONS, seed=0)


@pytest.mark.parametrize(
    ("long", "named"),
    [
        (lambda row: getattr(row, "response_type", None) is None, r"\d+ helpful prompts has"),
        (lambda row: getattr(row, "response_type", None) == "comply", "3 safety prompts to comply"),
        (lambda row: getattr(row, "response_type", None) == "hard_refusal", "3 safety .* refuse"),
    ],
)
def test_a_kind_of_prompts_that_is_too_long_as_a_whole_is_named(long, named):
    with pytest.raises(DataError, match=f"none of the {named}.*raise rl.max_prompt_tokens"):
        mixed_prompts(*prompts(), 16, OPTIONS, 0, lambda row: not long(row))
