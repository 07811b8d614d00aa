"""A task with a known optimum, for a tiny random model: nothing but tokens of one kind.

Each completion has ``LENGTH`` places; the reward is the share of places with a token whose number is a
multiple of 20, up to an early end: 1 is the optimum, and a random policy has a twentieth.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PrinterCallback
from trl import GRPOConfig

from rbr.models.load import load_causal, load_tokenizer
from rbr.models.tiny import make_tiny
from rbr.models.trunk import train_upper_layers
from rbr.training.options import RLOptions
from rbr.training.policy import algorithm

LENGTH = 6
# Options that TRL's arguments do not have; the others are passed to them as they are.
RL_OPTIONS = set(RLOptions.model_fields) - set(GRPOConfig.__dataclass_fields__)
PROMPTS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def pattern_reward(prompts, completions, completion_ids, **_):
    """The share of the ``LENGTH`` places that are right; places after an early end are not."""
    return [sum(token % 20 == 0 for token in ids) / LENGTH for ids in completion_ids]


def made(folder: Path) -> Path:
    """The tiny model that all start from."""
    tiny = make_tiny(folder / "tiny", PROMPTS, layers=2)
    model = load_causal(tiny)
    with torch.no_grad():
        # Its embeddings stay as they are: larger ones, or no token can become likely.
        model.get_input_embeddings().weight.mul_(7)
    model.save_pretrained(tiny)
    return tiny


def trainer_of(
    tiny: Path, output: Path, seed: int = 0, reward=pattern_reward, rollout_func=None, **changes
):
    """A trainer of the task, with one rollout of 64 completions a step.

    Args:
        rollout_func: as TRL takes it; None samples.
        changes: fields of ``RLOptions`` (``algorithm``, ``kl_coefficient``...) and of TRL's arguments.
    """
    from datasets import Dataset

    torch.manual_seed(seed)
    rl_options = {name: changes.pop(name) for name in list(changes) if name in RL_OPTIONS}
    options = RLOptions(
        **{
            "kl_coefficient": 0.0,
            "missing_eos_penalty": 0.0,
            "temperature": 1.0,
            "max_kl": 1e9,
            "trained_layers": 2,
        }
        | rl_options
    )
    model = load_causal(tiny)
    make_trainer, make_arguments = algorithm(
        options, train_upper_layers(model, options.trained_layers)
    )
    arguments = make_arguments(
        **{
            "output_dir": str(output),
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": seed,
            "data_seed": seed,
            "learning_rate": 3e-3,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 64,
            "steps_per_generation": 1,
            "num_iterations": 2,
            "num_generations": 8,
            "max_completion_length": LENGTH,
            "temperature": options.temperature,
            "logging_steps": 2,
            "max_steps": 120,
            "save_strategy": "no",
            "shuffle_dataset": False,
            "gradient_checkpointing": False,
        }
        | changes
    )
    rows = [{"prompt": text} for text in PROMPTS]
    trainer = make_trainer(
        model=model.to(torch.get_default_dtype()),
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(rows * 50),
        processing_class=load_tokenizer(tiny),
        **({"rollout_func": rollout_func} if rollout_func else {}),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def reached(trainer, last: int = 5) -> float:
    """Mean reward of the last rollouts of a finished training; 1 is the optimum."""
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    return sum(rewards[-last:]) / last
