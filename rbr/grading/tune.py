"""Fine-tuning a backbone and its heads together, on gold rows and composed ones.

Frozen states tell refusals from answers, but not an apology from "I'm sorry I can": what a state says
of a proposition has to be learnt. Gold rows are seen several times, each composed row once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
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
    PairEncoder,
    PairTokenizer,
    first_layers,
    layers_of,
    pooled,
)
from rbr.grading.head import Heads, calibrated
from rbr.models.load import load_encoder, load_tokenizer
from rbr.models.trainer import common_arguments, run_training

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainerCallback

    from rbr.data.rows import TrainingRows
    from rbr.grading.base import Array
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
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        completion_mask: torch.Tensor,
        labels: torch.Tensor,
        label_weights: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Scores (n, propositions) and the weighted cross-entropy."""
        states = pooled(self.backbone, input_ids, attention_mask, completion_mask)
        scores = self.head(self.dropout(states).to(self.head.weight.dtype)).float()
        loss = nn.functional.binary_cross_entropy_with_logits(
            scores, labels, weight=label_weights, reduction="mean"
        )
        return {"loss": loss, "logits": scores}


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


def validation_part(rows: TrainingRows, fraction: float, seed: int) -> np.ndarray[Any, Any]:
    """Which rows are kept from training, (n,) bool: gold rows of this share of the conversations."""
    groups = sorted({g for g, gold in zip(rows.groups, rows.is_gold, strict=True) if gold})
    random.Random(seed).shuffle(groups)
    kept = set(groups[: max(1, round(fraction * len(groups)))])
    # A composed row of such a conversation is no validation row, but must not be trained on either.
    return np.array([group in kept for group in rows.groups])


def training_order(
    gold: Sequence[int],
    composed: Sequence[int],
    lengths: Sequence[int],
    options: TuningOptions,
    seed: int,
) -> list[int]:
    """Rows in the order in which they are trained on, so that a batch has rows of similar length.

    Every pass has all gold rows and a share of the composed ones. Rows are sorted by length within a
    stretch of batches alone, and the batches of a stretch shuffled: long and short ones take turns.
    """
    draw = random.Random(seed)
    others = draw.sample(list(composed), len(composed))
    order: list[int] = []
    for number in range(options.gold_epochs):
        own = [*gold, *others[number :: options.gold_epochs]]
        draw.shuffle(own)
        order += own
    size, stretch = options.batch_size, 16 * options.batch_size
    result: list[int] = []
    for start in range(0, len(order), stretch):
        near = sorted(order[start : start + stretch], key=lambda i: lengths[i])
        batches = [near[k : k + size] for k in range(0, len(near), size)]
        partial = [batches.pop()] if len(batches[-1]) < size else []
        draw.shuffle(batches)
        result += [i for batch in batches + partial for i in batch]
    return result


def _half_precision() -> bool:
    """Whether this machine multiplies bfloat16 in hardware: elsewhere it would be slower."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def fine_tune(
    model: Path | str,
    rows: TrainingRows,
    label_weights: Array,
    propositions: Sequence[str],
    options: TuningOptions,
    checkpoints: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
) -> Tuned:
    """Tune the first ``options.layers`` layers of a model together with one head a proposition.

    Args:
        label_weights: (n, propositions); a label of weight 0 is not learnt.
        checkpoints: folder from which an interrupted training resumes.

    Returns:
        The tuned backbone and heads, calibrated on gold rows that are kept from training. Losses and
        accuracy on those rows are before calibration: options are chosen by them.
    """
    torch.manual_seed(seed)
    tokens = PairTokenizer(load_tokenizer(model))
    backbone = first_layers(load_encoder(model), options.layers)
    # Rare words keep the meaning they came with: the gold rows hold too few of them.
    backbone.get_input_embeddings().requires_grad_(False)
    if options.trained_layers is not None:
        for layer in layers_of(backbone)[: -options.trained_layers]:
            layer.requires_grad_(False)
    net = PairClassifier(backbone, len(propositions)).train()
    labels = label_matrix(rows.true, propositions)
    pairs = tokens(rows.conversations, rows.completions)
    held_out = validation_part(rows, options.validation_fraction, seed)
    gold = np.flatnonzero(rows.is_gold & ~held_out).tolist()
    composed = np.flatnonzero(~rows.is_gold & ~held_out).tolist()
    validation = np.flatnonzero(rows.is_gold & held_out)
    order = training_order(gold, composed, [len(pair.ids) for pair in pairs], options, seed)

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = tokens.batch([example["pair"] for example in examples])
        for name in ("labels", "label_weights"):
            values = np.stack([example[name] for example in examples])
            batch[name] = torch.tensor(values, dtype=torch.float32)
        return batch

    trainer = Trainer(
        model=net,
        args=TrainingArguments(
            **{**common_arguments(checkpoints, seed), "bf16": _half_precision()},
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
        train_dataset=[
            {"pair": pairs[i], "labels": labels[i], "label_weights": label_weights[i]}
            for i in order
        ],
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
    encode = PairEncoder(net.backbone, model, options.batch_size)
    features = encode(
        [rows.conversations[i] for i in validation], [rows.completions[i] for i in validation]
    )
    weight = net.head.weight.detach().cpu().double().numpy()
    bias = net.head.bias.detach().cpu().double().numpy()
    labels, label_weights = labels[validation], label_weights[validation]
    heads = calibrated(
        weight, bias, features, labels, label_weights, propositions, options.balance, rows.relations
    )
    scores = features @ weight.T + bias
    losses = np.logaddexp(0, scores) - labels * scores
    correct = (scores > 0) == (labels > 0.5)
    metrics = {
        "gold_rows": float(len(gold)),
        "composed_rows": float(len(composed)),
        "validation_rows": float(len(validation)),
        "validation_loss": float(np.average(losses, weights=label_weights)),
        "validation_accuracy": float(np.average(correct, weights=label_weights)),
    }
    return Tuned(net.backbone, heads, metrics)
