"""A training whose numbers are not finite ends at once, names the rows, and saves nothing after."""

import logging
import math
from functools import partial

import pytest
import torch
from transformers import TrainerCallback

from rbr.data.rows import HelpfulPrompt, Labelled, Message, Preference
from rbr.errors import TrainingError
from rbr.grading.options import TuningOptions
from rbr.grading.tune import fine_tune
from rbr.models.load import load_causal
from rbr.models.trainer import last_checkpoint
from rbr.training.options import RewardModelOptions, RLOptions, SFTOptions
from rbr.training.policy import train_policy
from rbr.training.reward_model import train_reward_model
from rbr.training.sft import train_sft

UPDATE = 14  # that breaks: in the midst of a rollout, and of the trainings


def talk(text):
    return (Message(role="user", content=text),)


def sft(tiny, folder, callbacks):
    rows = [(talk(f"question {i}"), f"answer {i}") for i in range(32)]
    options = SFTOptions(trained_layers=2, batch_size=2, epochs=1)
    train_sft(tiny, rows, folder / "run", folder / "model", options, 0, callbacks)


def reward_model(tiny, folder, callbacks):
    pairs = [
        Preference(
            id=f"p{i}", family="f", conversation=talk(f"question {i}"), chosen="a b", rejected="c"
        )
        for i in range(64)
    ]
    options = RewardModelOptions(layers=2, trained_layers=1, batch_size=2, epochs=1)
    train_reward_model(tiny, pairs, folder / "run", folder / "model", options, 0, callbacks)


def length_reward(completions, **_):
    return [float(len(text)) for text in completions]


def policy(tiny, folder, callbacks, algorithm="ppo"):
    helpful = [
        HelpfulPrompt(id=f"h{i}", family="f", conversation=talk(f"question {i}")) for i in range(8)
    ]
    options = RLOptions(
        algorithm=algorithm, steps=8, prompts_per_step=4, max_new_tokens=8, trained_layers=2, save_steps=1,
        max_kl=1e9,
    )  # fmt: skip
    train_policy(
        tiny, [], helpful, length_reward, folder / "run", folder / "model", options, 0, callbacks
    )


def tuning(tiny, folder, callbacks):
    rows = [
        Labelled(
            id=f"g{i}", response_type="r", conversation=talk(f"question {i}"),
            completion=f"answer {i}", true=("x",) * (i % 2),
        )
        for i in range(48)
    ]  # fmt: skip
    options = TuningOptions(layers=2, trained_layers=1, epochs=1, batch_size=2)
    fine_tune(tiny, rows, ("x",), options, folder / "run", 0, callbacks)


TRAININGS = {
    "sft": sft,
    "reward_model": reward_model,
    "ppo": policy,
    "grpo": partial(policy, algorithm="grpo"),
    "tuning": tuning,
}


class Broken(TrainerCallback):
    """Multiplies what the trained weights become, or their gradient, by a number, at one update."""

    def __init__(self, what, factor):
        self.what, self.factor, self.updates = what, factor, []

    def on_step_begin(self, args, state, control, model, **_):
        self.updates.append(state.global_step + 1)
        if self.updates[-1] != UPDATE:
            return
        parameter = next(p for p in reversed(list(model.parameters())) if p.requires_grad)
        if self.what == "weight":
            parameter.data.fill_(self.factor)
        else:
            parameter.register_hook(lambda grad: grad * self.factor)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(("what", "factor"), [("weight", math.nan), ("gradient", math.inf)])
def test_the_first_number_that_is_not_finite_ends_a_training(
    tiny_model, tmp_path, caplog, name, what, factor
):
    broken = Broken(what, factor)
    with caplog.at_level(logging.INFO, "rbr"), pytest.raises(TrainingError) as raised:
        TRAININGS[name](tiny_model, tmp_path, [broken])
    told = str(raised.value)
    assert told.startswith(f"{name}: the ")
    assert f"of update {UPDATE} is nan" in told or f"of update {UPDATE} is inf" in told
    assert ("norm of the gradient" in told) == (what == "gradient")
    assert ("question" in told) == (name != "tuning")
    assert broken.updates[-1] == UPDATE
    assert not (tmp_path / "model").exists()
    # All of the batch, one line a row.
    assert sum(f"{name}: update {UPDATE}: " in message for message in caplog.messages) >= 2


def test_a_resumed_training_starts_from_weights_that_were_finite(tiny_model, tmp_path):
    with pytest.raises(TrainingError):
        sft(tiny_model, tmp_path, [Broken("gradient", math.nan)])
    assert last_checkpoint(tmp_path / "run").endswith("checkpoint-10")
    sft(tiny_model, tmp_path, [])
    weights = load_causal(tmp_path / "model").state_dict().values()
    assert all(torch.isfinite(weight).all() for weight in weights)


class Late(TrainerCallback):
    """Breaks a weight after the update whose checkpoint would be written."""

    def on_optimizer_step(self, args, state, control, model, **_):
        if state.global_step + 1 == 10:
            next(p for p in model.parameters() if p.requires_grad).data.fill_(math.inf)


def test_broken_weights_are_not_saved(tiny_model, tmp_path):
    with pytest.raises(TrainingError, match=r"sft: after update 10 the weight .* is not finite"):
        sft(tiny_model, tmp_path, [Late()])
    assert last_checkpoint(tmp_path / "run") is None


def test_a_training_does_not_start_from_broken_weights(tiny_model, tmp_path):
    model = load_causal(tiny_model)
    model.model.layers[-1].mlp.down_proj.weight.data[0, 0] = math.nan
    broken = tmp_path / "broken"
    model.save_pretrained(broken)
    for path in tiny_model.glob("*"):
        if "token" in path.name or path.suffix == ".jinja":
            (broken / path.name).write_bytes(path.read_bytes())
    with pytest.raises(TrainingError, match=r"before the first update the weight .*layers\.3\.mlp"):
        sft(broken, tmp_path, [])
