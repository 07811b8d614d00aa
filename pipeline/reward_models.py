"""Fitting a reward model into an artifact, and its gate."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.context import Context
from pipeline.gates import Part, between, metrics, numbers
from pipeline.rows import weights_digest
from pipeline.training import train
from rbr.data.rows import Preference


def fit_reward_model(
    context: Context,
    pairs: list[Preference],
    heldout: Mapping[str, Sequence[Preference]],
    output: Path,
) -> dict[str, float]:
    """Train on at most ``reward_model.max_pairs`` pairs, and measure on each held-out set."""
    from rbr.training.reward_model import RewardModel, accuracy, train_reward_model

    options, seed = context.settings.reward_model, context.settings.seed
    random.Random(seed).shuffle(pairs)
    pairs = pairs[: options.max_pairs]
    context.log(f"training on {len(pairs)} pairs")
    with context.checkpoints(
        options, seed, weights_digest(context.path("base_model")), pairs
    ) as checkpoints:
        train(
            context,
            train_reward_model,
            "reward_model",
            base=context.path("base_model"),
            train=pairs,
            checkpoints=checkpoints,
            target=output,
            options=options,
        )
        model = RewardModel(output)
        accuracies = {
            f"heldout_accuracy{name}": accuracy(model, rows) for name, rows in heldout.items()
        }
    return {"pairs": len(pairs), **accuracies}


def accuracy_floor(context: Context) -> list[Part]:
    """The gate of a reward model."""
    floor = context.settings.gates.reward_accuracy_min
    why = "accuracy on held-out pairs"
    return [
        Part("metrics", metrics(context), [between("heldout_accuracy", floor, 1, why)]),
        numbers(context),
    ]
