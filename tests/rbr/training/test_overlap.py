"""Answers of a rollout, handed to the reward while others are still generated."""

from types import SimpleNamespace

import pytest

from rbr.grading.ahead import AheadGrader
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.training.overlap import _stepping
from rbr.training.rollouts import _OwnGRPO
from tests.fakes import FixedGrader, FixedScorer, drawn_weights
from tests.rbr.training.toy import made, trainer_of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return made(tmp_path_factory.mktemp("overlap"))


class Noted(RuleBasedReward):
    """Notes the texts that are announced, and before which the whole rollout was asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.announced, self.called = [], []

    def prepare(self, prompts, completions, **columns):
        self.announced += list(zip(prompts, completions, strict=True))
        super().prepare(prompts, completions, **columns)

    def __call__(self, prompts, completions, **columns):
        self.called.append(len(self.announced))
        return super().__call__(prompts, completions, **columns)


def trained(tiny, folder, rules, grader, algorithm, steps=3):
    """A short training's rewards, by rollout, with all that its logs say of them; and the reward."""
    reward = Noted(rules, drawn_weights(rules), grader, FixedScorer())
    kind = rules.response_types[0]

    def call(prompts, completions, **columns):
        return reward(prompts, completions, **columns | {"response_type": [kind] * len(prompts)})

    def prepare(prompts, completions, **columns):
        reward.prepare(prompts, completions, **columns | {"response_type": [kind] * len(prompts)})

    call.prepare = prepare
    trainer = trainer_of(
        tiny, folder, reward=call, algorithm=algorithm, num_iterations=1, max_steps=steps,
        max_completion_length=24, logging_steps=1,
    )  # fmt: skip
    trainer.train()
    times = ("time", "runtime", "per_second")
    history = [
        {k: v for k, v in entry.items() if not any(t in k for t in times)}
        for entry in trainer.state.log_history
        if "reward" in entry
    ]
    return history, reward


@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "rloo"])
def test_rewards_and_metrics_are_those_of_grading_afterwards(tiny, tmp_path, rules, algorithm):
    grader = FixedGrader(rules.proposition_names)
    afterwards, _ = trained(tiny, tmp_path / "a", rules, grader, algorithm)
    ahead, reward = trained(tiny, tmp_path / "b", rules, AheadGrader(grader), algorithm)
    assert len(afterwards) == 3
    assert ahead == afterwards
    assert len(reward.called) == 3


def test_every_answer_is_announced_as_it_ends_with_its_own_prompt(tiny, tmp_path, rules):
    trainer = trainer_of(tiny, tmp_path, max_completion_length=12)
    seen, at_end = [], []

    class Reward:
        __name__ = "noted"

        def prepare(self, prompts, completions, **_):
            seen.append((prompts[0], completions[0], generating[0]))

        def __call__(self, prompts, completions, **_):
            at_end.extend(zip(prompts, completions, strict=True))
            return [float(len(text)) for text in completions]

    generating = [True]
    trainer.reward_funcs = [Reward()]
    # A token that is often drawn ends an answer.
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = list(range(0, 200, 4))
    single = _OwnGRPO._generate_single_turn

    def turn(self, *args, **kwargs):
        generating[0] = True
        found = single(self, *args, **kwargs)
        generating[0] = False
        return found

    rows = next(iter(trainer.get_train_dataloader()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_OwnGRPO, "_generate_single_turn", turn)
        trainer.model.train()
        trainer._prepare_inputs(rows)
    early = [pair[:2] for pair in seen if pair[2]]
    assert len(at_end) == 64
    assert 5 <= len(early) < 64
    assert set(early) <= set(at_end)
    assert {pair[:2] for pair in seen} == set(at_end)
    assert trainer.finished is None


def test_what_a_step_of_vllm_finishes_is_handed_over_by_its_prompt():
    def output(prompt, ids, finished=True):
        return SimpleNamespace(
            prompt_token_ids=prompt, finished=finished, outputs=[SimpleNamespace(token_ids=ids)]
        )

    class Engine:
        def __init__(self):
            self.steps = [[output([1, 2], [5])], [], [output([3], [6], False), output([3], [6, 7])]]

        def step(self):
            return self.steps.pop(0)

    engine, seen = Engine(), []
    generation = SimpleNamespace(llm=SimpleNamespace(llm_engine=engine))
    with _stepping(generation, [[3], [1, 2]], lambda row, ids: seen.append((row, ids))):
        found = [engine.step() for _ in range(3)]
    assert seen == [(1, [5]), (0, [6, 7])]
    assert list(map(len, found)) == [1, 0, 2]
    assert "step" not in vars(engine)
    with _stepping(SimpleNamespace(), [[3]], None):  # a server's: nothing to watch
        pass
