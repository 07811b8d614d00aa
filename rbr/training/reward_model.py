"""Reward models (R_rm) with TRL's ``RewardTrainer``, on the policy model's lower layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer

from rbr.data.rows import Preference
from rbr.errors import ModelError
from rbr.grading.base import Conversation
from rbr.grading.encoder import first_layers
from rbr.models.device import on_device, reading_batches, reading_dtype
from rbr.models.load import load_scorer, load_tokenizer, prompt_text
from rbr.models.trainer import batch_arguments, common_arguments, run_training, save_model
from rbr.models.trunk import decoder_of
from rbr.training.adapters import train_part
from rbr.training.options import RewardModelOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


# Tokens that are read of a conversation with its answer, at most: scoring, and training.
READ_TOKENS = 2048
TRAINED_TOKENS = 512

Ids = list[int]


def read_ids(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation, completion: str, limit: int
) -> tuple[Ids, int]:
    """What a reward model reads, and how many tokens it does not.

    Where all is more than ``limit`` tokens, the answer stays whole and the conversation loses its
    beginning; of an answer that is itself too long the middle is left out.

    Returns:
        At most ``limit`` token ids, and the number of those left out.

    Raises:
        ModelError: as ``prompt_text`` does.
    """
    prompt, answer = (
        prompt_text(tokenizer, conversation),
        f"{completion}{tokenizer.eos_token or ''}\n",
    )

    def ids_of(text: str) -> Ids:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    # Together: a token may stand across the border.
    whole = ids_of(prompt + answer)
    if len(whole) <= limit:
        return whole, 0
    before, after = ids_of(prompt), ids_of(answer)
    room = max(0, limit - len(after))
    if room == 0:
        after = after[: limit // 2] + after[len(after) - (limit - limit // 2) :]
    return before[len(before) - room :] + after, len(whole) - limit


def read_limit(model: PreTrainedModel, limit: int) -> int:
    """``limit``, or the positions that the model has, if these are fewer."""
    return min(limit, getattr(model.config, "max_position_embeddings", limit))


class RewardModel:
    """A trained reward model, a ``Scorer`` of completions.

    Args:
        folder: a sequence classifier with one output.
        max_tokens: read at most so many of a conversation with its answer, see ``read_ids``.
    """

    def __init__(
        self, folder: Path | str, batch_size: int = 32, max_tokens: int = READ_TOKENS
    ) -> None:
        self.model = load_scorer(folder, reading=True)
        # Scores in bfloat16 would tie: the last product is in float32.
        self.model.score.float().register_forward_pre_hook(lambda _, states: (states[0].float(),))
        self.tokenizer = load_tokenizer(folder)
        if self.model.config.pad_token_id is None:
            self.model.config.pad_token_id = self.tokenizer.pad_token_id
        self.batch_size = batch_size
        self.max_tokens = read_limit(self.model, max_tokens)

    def _read(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> list[tuple[Ids, int]]:
        return [
            read_ids(self.tokenizer, turns, text, self.max_tokens)
            for turns, text in zip(conversations, completions, strict=True)
        ]

    def unread_tokens(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> list[int]:
        """How many tokens of each row ``score`` does not read."""
        return [unread for _, unread in self._read(conversations, completions)]

    @torch.inference_mode()
    def score(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """See ``Scorer.score``.

        Raises:
            ModelError: naming the row whose score is not a finite number.
        """
        rows = self._read(conversations, completions)
        log_unread([unread for _, unread in rows])
        ids = [row for row, _ in rows]
        result = np.zeros(len(ids))
        area = self.batch_size * TRAINED_TOKENS
        for batch in reading_batches([len(row) for row in ids], self.batch_size, area):
            encoded = self.tokenizer.pad(
                {"input_ids": [ids[i] for i in batch]}, return_tensors="pt", padding_side="right"
            )
            logits = self.model(**on_device(encoded, self.model)).logits
            result[batch] = logits[:, 0].cpu().double().numpy()
        if not np.isfinite(result).all():
            row = int(np.flatnonzero(~np.isfinite(result))[0])
            raise ModelError(f"the reward model's score of row {row} is not a finite number")
        return result


def log_unread(unread: Sequence[int]) -> None:
    """Say how many rows are not read as a whole, if there are any."""
    cut = [tokens for tokens in unread if tokens]
    if cut:
        logger.warning("%d of %d rows lose %d tokens: too long", len(cut), len(unread), sum(cut))


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
    model = load_scorer(base, dtype=reading_dtype() if options.lora else None)
    tokenizer = load_tokenizer(base)
    first_layers(decoder_of(model), options.layers)
    limit = read_limit(model, TRAINED_TOKENS)
    trained, _ = train_part(model, options.trained_layers, options.lora, "SEQ_CLS")
    # TRL would leave out pairs that are too long.
    sides = {
        "chosen_ids": [read_ids(tokenizer, r.conversation, r.chosen, limit) for r in train],
        "rejected_ids": [read_ids(tokenizer, r.conversation, r.rejected, limit) for r in train],
    }
    log_unread([unread for side in sides.values() for _, unread in side])
    trainer = RewardTrainer(
        model=trained,
        args=RewardConfig(
            **common_arguments(checkpoints, seed),
            **batch_arguments(options, "reward_model"),
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            max_length=None,
            center_rewards_coefficient=0.01,
            logging_steps=5,
            save_strategy="steps",
            save_steps=20,
        ),
        train_dataset=Dataset.from_dict(
            {name: [ids for ids, _ in side] for name, side in sides.items()}
        ),
        processing_class=tokenizer,
    )
    run_training(trainer, "reward_model", callbacks)
    model.config.pad_token_id = tokenizer.pad_token_id
    save_trained_scorer(trainer, tokenizer, options.lora is not None, target)


def save_trained_scorer(trainer: Any, tokenizer: Any, lora: bool, target: Path) -> None:
    """Write a trained reward model; one with adapters is merged with them."""
    if not lora:
        save_model(trainer, tokenizer, target)
    elif trainer.is_world_process_zero():
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(target)
        tokenizer.save_pretrained(target)
