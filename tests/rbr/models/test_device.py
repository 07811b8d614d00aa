"""Every module and input of a step is on the step's device; all run in bfloat16 too."""

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
import transformers

from rbr.data.rows import (
    CapabilityItem,
    CapabilityText,
    HelpfulPrompt,
    Labelled,
    Message,
    Preference,
)
from rbr.evaluation.capability import capability
from rbr.evaluation.fluency import Fluency
from rbr.grading import tune
from rbr.grading.encoder import PairEncoder
from rbr.grading.engines.transformers import TransformersEngine
from rbr.grading.options import TuningOptions
from rbr.grading.tune import fine_tune
from rbr.models import device, trainer
from rbr.models.device import GPU_TOKENS, reading_batches
from rbr.models.generate import generate
from rbr.models.load import load_causal, load_scorer, load_tokenizer
from rbr.training import policy, reward_model, sft
from rbr.training.options import LoRAOptions, RewardModelOptions, RLOptions, SFTOptions
from rbr.training.policy import train_policy
from rbr.training.ppo import PPOTrainer
from rbr.training.reward_model import RewardModel, train_reward_model
from rbr.training.sft import train_sft
from tests.fake_device import FakeTensor, fake_device

CONVERSATIONS = [(Message(role="user", content=f"How do I open lock {i}?"),) for i in range(8)]
ANSWERS = [f"Sorry, I cannot help with lock {i}." + " Really." * (i % 3) for i in range(8)]
ITEM = CapabilityItem(
    id="i", kind="factual", question="One?", choices=("1", "2", "3", "4"), answer="1"
)


@pytest.fixture(scope="module")
def scorer(tiny_model, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("scorer")
    load_scorer(tiny_model).save_pretrained(folder)
    load_tokenizer(tiny_model).save_pretrained(folder)
    return folder


def rewards(tiny, scorer):
    return RewardModel(scorer).score(CONVERSATIONS, ANSWERS)


def features(tiny, scorer):
    return PairEncoder(tiny, tiny)(CONVERSATIONS, ANSWERS)


def odds(tiny, scorer):
    return TransformersEngine(tiny).log_odds([["Is it a b?", "Is it c?"], ["Is it d?", "Is it?"]])


def known(tiny, scorer):
    values, _ = capability(tiny, [ITEM], [CapabilityText(id="t", text="The lock is open.")])
    return [values["loss"], values["accuracy"]]


def likelihood(tiny, scorer):
    return [row.logp for row in Fluency(tiny)(CONVERSATIONS, ANSWERS)]


def written(tiny, scorer):
    answers = generate(tiny, CONVERSATIONS, 4, 4, sample_seed=1)
    return [len(str(answer)) for answer in answers]


READINGS = [rewards, features, odds, known, likelihood, written]


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.__name__)
def test_what_reads_is_on_the_steps_device(tiny_model, scorer, reading):
    expected = np.array(reading(tiny_model, scorer))
    with fake_device():
        found = np.array(reading(tiny_model, scorer))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def fine_tuning(tiny, folder, lora):
    options = SFTOptions(trained_layers=2, batch_size=4, micro_batch=2, epochs=1, lora=lora)
    rows = list(zip(CONVERSATIONS, ANSWERS, strict=True))
    return train_sft(tiny, rows, folder / "run", folder / "model", options, 0)


def preferences(tiny, folder, lora):
    pairs = [
        Preference(id=f"p{i}", family="f", conversation=turns, chosen="Here it is.", rejected=answer)
        for i, (turns, answer) in enumerate(zip(CONVERSATIONS, ANSWERS, strict=True))
    ]  # fmt: skip
    options = RewardModelOptions(layers=3, trained_layers=2, batch_size=4, epochs=1, lora=lora)
    train_reward_model(tiny, pairs, folder / "run", folder / "model", options, 0)


def length_reward(completions, **_):
    return [float(len(answer[0]["content"])) for answer in completions]


def optimisation(tiny, folder, lora):
    prompts = [
        HelpfulPrompt(id=f"h{i}", family="f", conversation=turns)
        for i, turns in enumerate(CONVERSATIONS)
    ]
    options = RLOptions(
        steps=1, prompts_per_step=4, micro_batch=1, max_new_tokens=4, trained_layers=2, lora=lora
    )
    run, model = folder / "run", folder / "model"
    return train_policy(tiny, [], prompts, length_reward, run, model, options, 0)


def tuning(tiny, folder, lora):
    rows = [
        Labelled(
            id=f"g{i}", response_type="r", conversation=CONVERSATIONS[i], completion=ANSWERS[i],
            true=("x",) * (i % 2),
        )
        for i in range(8)
    ]  # fmt: skip
    options = TuningOptions(
        layers=3, trained_layers=1, epochs=1, batch_size=4, kept_states=2.0 * bool(lora)
    )
    return fine_tune(tiny, rows, ("x",), options, folder / "run", 0).metrics


TRAININGS = [fine_tuning, preferences, optimisation, tuning]
ADAPTERS = pytest.mark.parametrize("lora", [None, LoRAOptions(rank=2)], ids=["whole", "adapters"])


@ADAPTERS
@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.__name__)
def test_what_trains_is_on_the_steps_device(tiny_model, tmp_path, training, lora):
    class Trained(Exception):
        """Its tensors cannot be written to files: a training ends before."""

    def end(trained, *_):
        parameters = list(getattr(trained, "model", trained).parameters())
        assert all(isinstance(p, FakeTensor) for p in parameters)
        raise Trained

    def on_any_device(*where):
        return common_arguments(*where) | {
            "optim": "adamw_torch"
        }  # fused kernels know no such device

    common_arguments = trainer.common_arguments
    with fake_device(), pytest.MonkeyPatch.context() as change:
        for module in (sft, policy, reward_model, tune):
            change.setattr(module, "common_arguments", on_any_device)
        change.setattr(transformers.Trainer, "_save_checkpoint", lambda *_, **__: None)
        change.setattr(PPOTrainer, "_save_checkpoint", lambda *_, **__: None)
        change.setattr(sft, "save_trained", end)
        change.setattr(policy, "save_trained", end)
        change.setattr(reward_model, "save_trained_scorer", end)
        change.setattr(tune, "PairEncoder", lambda backbone, *_: end(backbone))
        with pytest.raises(Trained):
            training(tiny_model, tmp_path, lora)


def test_the_fake_device_refuses_what_a_gpu_refuses():
    with fake_device() as there:
        layer = torch.nn.Linear(4, 2).to(there)
        assert layer(torch.ones(3, 4, device=there)).shape == (3, 2)
        with pytest.raises(RuntimeError, match="tensors on two devices"):
            layer(torch.ones(3, 4))
        with pytest.raises((RuntimeError, TypeError)):
            layer.weight.detach().numpy()
        assert layer.weight.detach().cpu().numpy().shape == (2, 4)


@pytest.fixture
def bfloat16(monkeypatch):
    """This CPU, as if it multiplied bfloat16 in hardware."""
    for module in (device, trainer):
        monkeypatch.setattr(module, "half_precision", lambda: True)


@pytest.mark.parametrize("reading", READINGS[:5], ids=lambda reading: reading.__name__)
def test_bfloat16_reads_nearly_the_same(tiny_model, scorer, reading, monkeypatch, request):
    expected = np.array(reading(tiny_model, scorer))
    request.getfixturevalue("bfloat16")
    assert load_causal(tiny_model, reading=True).dtype == torch.bfloat16
    found = np.array(reading(tiny_model, scorer))
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)
    assert (found != expected).any()


@ADAPTERS
@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.__name__)
def test_trainings_run_under_bfloat16(tiny_model, tmp_path, training, lora, bfloat16):
    metrics = training(tiny_model, tmp_path, lora)
    assert all(math.isfinite(value) for value in (metrics or {}).values())
    if training is not tuning:
        assert load_causal(tmp_path / "model").dtype == torch.float32


@pytest.mark.parametrize(
    ("variable", "able", "half"),
    [
        ("0", "avx512_bf16", True),
        ("0", "amx_bf16", True),
        ("0", "avx2", False),
        ("1", "amx_bf16", False),
    ],
)
def test_a_cpu_reads_bfloat16_where_it_has_it(monkeypatch, variable, able, half):
    monkeypatch.setenv(device.FLOAT32, variable)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {able: True})
    assert device.half_precision() is half


def test_a_gpu_reads_batches_of_tokens_and_the_cpu_of_rows():
    lengths = [100] * 1000
    assert {len(batch) for batch in reading_batches(lengths, 8)} == {8}
    with patch.object(device, "step_device", lambda: torch.device("cuda")):
        sizes = [len(batch) for batch in reading_batches(lengths, 8)]
    assert sizes == [GPU_TOKENS // 100] * (1000 // (GPU_TOKENS // 100)) + [
        1000 % (GPU_TOKENS // 100)
    ]
