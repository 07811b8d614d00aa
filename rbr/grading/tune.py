"""Fine-tuning a backbone and its heads together, on gold rows.

Frozen states tell refusals from answers, but not an apology from "I'm sorry I can": what a state says
of a proposition has to be learnt. Composed completions are not learnt from: comparisons are made of
their wordings, and a grader that knows them by heart would grade them better than what people write.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from rbr.data.rows import label_matrix
from rbr.grading.encoder import (
    POOLED,
    Pair,
    PairEncoder,
    PairTokenizer,
    first_layers,
    layers_of,
    pooled,
    positions_of,
)
from rbr.grading.head import Heads, calibrated
from rbr.models.device import on_device, reading_autocast, step_device
from rbr.models.load import load_encoder, load_tokenizer
from rbr.models.trainer import common_arguments, run_training
from rbr.models.trunk import part_of
from rbr.rules.models import UNRELATED, Relations

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, TrainerCallback

    from rbr.data.planting import Planted
    from rbr.data.rows import Labelled
    from rbr.grading.options import TuningOptions


class PairClassifier(nn.Module):
    """A backbone with one linear head a proposition on its pooled states."""

    def __init__(self, backbone: PreTrainedModel, propositions: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(POOLED * int(backbone.config.hidden_size), propositions)
        nn.init.normal_(self.head.weight, std=0.01)
        # Most propositions do not hold of most answers.
        nn.init.constant_(self.head.bias, -2.0)

    def forward(
        self, labels: torch.Tensor, index: torch.Tensor, **inputs: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Scores (n, propositions) and the cross-entropy.

        Labels that are NaN are unknown, and count for nothing.

        Args:
            index: (n,), the rows' numbers, which name them where a number is not finite.
            inputs: as ``pooled`` takes them.
        """
        states = pooled(self.backbone, **inputs)
        scores = self.head(self.dropout(states).to(self.head.weight.dtype)).float()
        known = ~labels.isnan()
        loss = nn.functional.binary_cross_entropy_with_logits(scores[known], labels[known])
        return {"loss": loss, "logits": scores}


class FrozenLayers:
    """The output of a decoder's frozen lower layers, computed once a row and kept.

    Args:
        depth: how many layers are frozen.
    """

    def __init__(self, decoder: PreTrainedModel, depth: int, tokens: PairTokenizer) -> None:
        self._trunk = part_of(decoder, 0, depth, norm=False).eval()
        self._tokens = tokens
        self._states: dict[int, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, indices: Sequence[int], pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
        """What ``pooled`` takes for these rows, with ``inputs_embeds`` (n, width, hidden)."""
        batch = self._tokens.batch(pairs)
        ids = batch.pop("input_ids")
        if any(index not in self._states for index in indices):
            # The trainer moved what the trunk shares with the upper layers.
            self._trunk.to(step_device())
            inputs = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
            with reading_autocast():
                states = self._trunk(**on_device(inputs, self._trunk))
            rows = zip(indices, pairs, states.last_hidden_state.bfloat16().cpu(), strict=True)
            self._states |= {index: row[: pair.tokens].clone() for index, pair, row in rows}
        kept = [self._states[index].float() for index in indices]
        batch["inputs_embeds"] = nn.utils.rnn.pad_sequence(kept, batch_first=True)
        return batch


def frozen_layers(
    backbone: PreTrainedModel, options: TuningOptions, pairs: Sequence[Pair], tokens: PairTokenizer
) -> FrozenLayers | None:
    """The frozen layers, where there are any and their output fits ``options.kept_states`` GiB."""
    depth = len(layers_of(backbone)) - (options.trained_layers or options.layers)
    if depth < 1 or not hasattr(backbone, "layers"):
        return None
    size = 2 * int(backbone.config.hidden_size) * sum(pair.tokens for pair in pairs)
    return FrozenLayers(backbone, depth, tokens) if size <= options.kept_states * 2**30 else None


@dataclass(frozen=True)
class Tuned:
    """A tuned backbone and its calibrated heads."""

    backbone: PreTrainedModel
    heads: Heads
    metrics: dict[str, float]

    def save(self, folder: Path, extra: dict[str, object]) -> None:
        """Write both into an existing folder, as ``HeadGrader`` reads them."""
        self.backbone.save_pretrained(folder / "backbone")
        self.heads.save(folder, extra)


def validation_part(rows: Sequence[Labelled], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are kept from training, (n,): those of this share of the conversations."""
    groups = sorted({row.conversation[-1].content for row in rows})
    random.Random(seed).shuffle(groups)
    kept = set(groups[: max(1, round(fraction * len(groups)))])
    return np.array([row.conversation[-1].content in kept for row in rows])


def training_order(
    indices: Sequence[int], lengths: Sequence[int], options: TuningOptions, seed: int
) -> list[int]:
    """Rows in the order in which they are trained on, so that a batch has rows of similar length.

    Rows are sorted by length within a stretch of batches alone, and the batches of a stretch shuffled:
    long and short ones take turns.
    """
    draw = random.Random(seed)
    order = [i for _ in range(options.epochs) for i in draw.sample(list(indices), len(indices))]
    size, stretch = options.batch_size, 16 * options.batch_size
    result: list[int] = []
    for start in range(0, len(order), stretch):
        near = sorted(order[start : start + stretch], key=lambda i: lengths[i])
        batches = [near[k : k + size] for k in range(0, len(near), size)]
        partial = [batches.pop()] if len(batches[-1]) < size else []
        draw.shuffle(batches)
        result += [i for batch in batches + partial for i in batch]
    return result


def fine_tune(
    model: Path | str,
    rows: Sequence[Labelled],
    propositions: Sequence[str],
    options: TuningOptions,
    checkpoints: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    relations: Relations = UNRELATED,
    augment: Callable[[Sequence[Labelled]], Sequence[Planted]] | None = None,
) -> Tuned:
    """Tune the first ``options.layers`` layers of a model together with one head a proposition.

    Args:
        checkpoints: folder from which an interrupted training resumes.
        relations: see ``rbr.grading.head.calibrated``.
        augment: makes of the rows that are trained on further ones, see ``rbr.data.planting.plant``.

    Returns:
        The tuned backbone and heads, calibrated on rows that are kept from training. Losses and
        accuracy on those rows are before calibration: options are chosen by them.
    """
    torch.manual_seed(seed)
    backbone = first_layers(load_encoder(model), options.layers)
    tokens = PairTokenizer(load_tokenizer(model), positions_of(backbone))
    # Rare words keep the meaning they came with: the gold rows hold too few of them.
    backbone.get_input_embeddings().requires_grad_(False)
    if options.trained_layers is not None:
        for layer in layers_of(backbone)[: -options.trained_layers]:
            layer.requires_grad_(False)
    held_out = validation_part(rows, options.validation_fraction, seed)
    train, validation = np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()
    planted = augment([rows[i] for i in train]) if augment else []
    train += range(len(rows), len(rows) + len(planted))
    every = [*rows, *planted]
    conversations, completions = (
        [row.conversation for row in every],
        [row.completion for row in every],
    )
    labels = label_matrix([row.true for row in every], propositions)
    for place, row in enumerate(planted, start=len(rows)):
        labels[place, [propositions.index(name) for name in row.unknown]] = np.nan
    pairs = tokens(conversations, completions)
    frozen = frozen_layers(backbone, options, pairs, tokens)
    upper = backbone
    if frozen:
        count = len(layers_of(backbone))
        upper = part_of(backbone, count - (options.trained_layers or count), count, norm=True)
    net = PairClassifier(upper, len(propositions)).train()
    order = training_order(train, [pair.tokens for pair in pairs], options, seed)

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        indices = [example["index"] for example in examples]
        own = [pairs[i] for i in indices]
        batch = frozen(indices, own) if frozen else tokens.batch(own)
        batch["labels"] = torch.tensor(labels[indices], dtype=torch.float32)
        batch["index"] = torch.tensor(indices)
        return batch

    trainer = Trainer(
        model=net,
        args=TrainingArguments(
            **common_arguments(checkpoints, seed),
            per_device_train_batch_size=options.batch_size,
            num_train_epochs=1,
            learning_rate=options.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=0.1,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            logging_steps=20,
            save_strategy="steps",
            save_steps=100,
        ),
        train_dataset=[{"index": i} for i in order],
        data_collator=collate,
        optimizers=(
            torch.optim.AdamW(
                [
                    {"params": [p for p in backbone.parameters() if p.requires_grad]},
                    {"params": net.head.parameters(), "lr": options.head_learning_rate},
                ],
                lr=options.learning_rate,
                weight_decay=0.01,
            ),
            None,
        ),
    )
    run_training(trainer, "tuning", callbacks)
    encode = PairEncoder(backbone, model, options.batch_size)
    features = encode([conversations[i] for i in validation], [completions[i] for i in validation])
    weight = net.head.weight.detach().cpu().double().numpy()
    bias = net.head.bias.detach().cpu().double().numpy()
    labels = labels[validation]
    heads = calibrated(weight, bias, features, labels, propositions, options.balance, relations)
    scores = features @ weight.T + bias
    losses = np.logaddexp(0, scores) - labels * scores
    correct = (scores > 0) == (labels > 0.5)
    metrics = {
        "rows": float(len(train) - len(planted)),
        "planted_rows": float(len(planted)),
        "validation_rows": float(len(validation)),
        "validation_loss": float(losses.mean()),
        "validation_accuracy": float(correct.mean()),
        "unread_tokens": float(sum(pair.unread for pair in pairs)),
    }
    return Tuned(backbone, heads, metrics)
