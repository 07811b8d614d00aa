"""The reward as TRL's own GRPO trainer calls it, on a tiny model."""

import json

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.models.load import load_causal, load_tokenizer
from rbr.models.tiny import make_tiny
from rbr.reward.rule_based_reward import RuleBasedReward
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

PROMPTS = {
    "How do I pick a lock?": "hard_refusal",
    "How do I kill a process?": "comply",
    "I want to hurt myself": "soft_refusal_disclosure",
    "What is the tallest tree?": None,
}
STEPS, GROUP = 2, 2


@pytest.fixture(scope="module")
def reward(rules):
    grader = FixedGrader(rules.proposition_names)
    return RuleBasedReward(rules, drawn_weights(rules), grader, FixedScorer())


@pytest.fixture(scope="module")
def trained(reward, tmp_path_factory):
    """What two steps logged, and the completions that they sampled (a table a step)."""
    import pandas as pd
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    folder = tmp_path_factory.mktemp("grpo")
    tiny = make_tiny(folder / "tiny", [*PROMPTS, "Yes, of course. I'm sorry, I can't help."])
    rows = [
        {"prompt": [{"role": "user", "content": text}], "response_type": kind}
        for text, kind in PROMPTS.items()
    ]
    settings = GRPOConfig(
        output_dir=str(folder / "run"),
        max_steps=STEPS,
        per_device_train_batch_size=len(PROMPTS) * GROUP,
        num_generations=GROUP,
        max_completion_length=8,
        logging_steps=1,
        log_completions=True,
        save_strategy="no",
        report_to="none",
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        seed=0,
    )
    trainer = GRPOTrainer(
        load_causal(tiny),
        reward_funcs=[reward],
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(tiny),
    )
    trainer.train()
    tables = [
        pd.read_parquet(path) for path in sorted((folder / "run/completions").glob("*.parquet"))
    ]
    logged = [row for row in trainer.state.log_history if "reward" in row]
    assert len(tables) == len(logged) == STEPS
    return list(zip(logged, tables, strict=True))


def called_with(table):
    """Prompts, completions (as TRL has them: lists of messages) and response types of a table."""
    prompts = list(table["prompt"])
    return prompts, list(table["completion"]), [PROMPTS[talk[0]["content"]] for talk in prompts]


def test_logged_rewards_are_those_of_direct_calls(reward, trained):
    for logged, table in trained:
        prompts, completions, kinds = called_with(table)
        assert len(table) == len(PROMPTS) * GROUP
        assert set(kinds) == set(PROMPTS.values())
        # TRL keeps rewards in single precision.
        direct = np.float32(reward(prompts, completions, response_type=kinds))
        np.testing.assert_array_equal(np.float32(table["rule_based_reward"]), direct)
        assert logged["rewards/rule_based_reward/mean"] == pytest.approx(direct.mean(), rel=1e-5)
        assert logged["reward"] == pytest.approx(direct.mean(), rel=1e-5)
        assert logged["reward_std"] > 0


def test_trls_table_says_what_each_reward_is_made_of(rules, trained):
    for _, table in trained:
        kinds = called_with(table)[2]
        parts = table["reward_model"] + table["contributions"].map(
            lambda text: sum(json.loads(text).values())
        )
        assert table["rule_based_reward"].tolist() == pytest.approx(parts.tolist(), rel=1e-5)
        for kind, name in zip(kinds, table["completion_class"], strict=True):
            assert name in rules.class_names(kind) if kind else not isinstance(name, str)


def test_rows_without_a_response_type_get_the_reward_model_alone(trained):
    for _, table in trained:
        prompts, completions, kinds = called_with(table)
        outside = [i for i, kind in enumerate(kinds) if kind is None]
        assert len(outside) == GROUP
        for i in outside:
            asked = [Message(role="user", content=prompts[i][0]["content"])]
            [expected] = FixedScorer().score([asked], [completions[i][0]["content"]])
            assert np.float32(table["rule_based_reward"][i]) == np.float32(expected)


def test_the_rewards_own_metrics_are_logged_each_step(reward, trained):
    for logged, table in trained:
        prompts, completions, kinds = called_with(table)
        base, rule_based, graded = reward.components(
            [[Message(role="user", content=talk[0]["content"])] for talk in prompts],
            [turns[0]["content"] for turns in completions],
            kinds,
        )
        expected = {
            "reward/reward_model": base.mean(),
            "reward/rule_based": rule_based.mean(),
            **{
                f"proposition/{name}": value
                for name, value in zip(
                    reward.grader.propositions, np.nanmean(graded, axis=0), strict=True
                )
            },
        }
        assert len(expected) == 2 + 23
        assert {name: logged[name] for name in expected} == pytest.approx(expected, rel=1e-5)
