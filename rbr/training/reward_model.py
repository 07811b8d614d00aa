"""Reward models (R_rm) with TRL's ``RewardTrainer``, on the policy model's lower layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer

from rbr.data.rows import Preference
from rbr.grading.base import Conversation
from rbr.models.load import chat_texts, load_scorer, load_tokenizer, messages
from rbr.models.trainer import common_arguments, per_process, run_training, save_model
from rbr.models.trunk import decoder_of, length_batches, train_upper_layers
from rbr.training.options import RewardModelOptions


class RewardModel:
    """A trained reward model, a ``Scorer`` of completions.

    Args:
        folder: a sequence classifier with one output.
    """

    def __init__(self, folder: Path | str, batch_size: int = 32, max_tokens: int = 512) -> None:
        self.model = load_scorer(folder)
        self.tokenizer = load_tokenizer(folder)
        self.batch_size = batch_size
        self.max_tokens = max_tokens

    @torch.inference_mode()
    def score(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """See ``Scorer.score``."""
        prompts = chat_texts(self.tokenizer, conversations)
        texts = [
            f"{p}{c}{self.tokenizer.eos_token}\n" for p, c in zip(prompts, completions, strict=True)
        ]
        result = np.zeros(len(texts))
        for batch in length_batches([len(text) for text in texts], self.batch_size):
            encoded = self.tokenizer(
                [texts[i] for i in batch],
                return_tensors="pt",
                padding=True,
                padding_side="right",
                truncation=True,
                max_length=self.max_tokens,
                add_special_tokens=False,
            )
            result[batch] = self.model(**encoded).logits[:, 0].double().numpy()
        return result


def accuracy(model: RewardModel, rows: Sequence[Preference]) -> float:
    """Share of pairs whose chosen completion scores higher."""
    conversations = [row.conversation for row in rows]
    chosen = model.score(conversations, [row.chosen for row in rows])
    rejected = model.score(conversations, [row.rejected for row in rows])
    return float((chosen > rejected).mean())


def train_reward_model(
    base: Path,
    train: Sequence[Preference],
    checkpoints: Path,
    target: Path,
    options: RewardModelOptions,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train on ``train`` and save the result to ``target``, an existing folder.

    Args:
        checkpoints: folder from which an interrupted training resumes.
    """
    torch.manual_seed(seed)
    model = load_scorer(base)
    tokenizer = load_tokenizer(base)
    decoder = decoder_of(model)
    decoder.layers = decoder.layers[: options.layers]
    model.config.num_hidden_layers = len(decoder.layers)
    train_upper_layers(model, options.trained_layers)
    rows = [
        {
            "prompt": messages(row.conversation),
            "chosen": [{"role": "assistant", "content": row.chosen}],
            "rejected": [{"role": "assistant", "content": row.rejected}],
        }
        for row in train
    ]
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            **common_arguments(checkpoints, seed),
            per_device_train_batch_size=per_process(options.batch_size, "reward_model.batch_size"),
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            max_length=512,
            center_rewards_coefficient=0.01,
            logging_steps=5,
            save_strategy="steps",
            save_steps=20,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    run_training(trainer, "reward_model", callbacks)
    model.config.pad_token_id = tokenizer.pad_token_id
    save_model(trainer, tokenizer, target)
