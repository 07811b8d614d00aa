"""Supervised fine-tuning with TRL's ``SFTTrainer``; the loss is on the completion alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from rbr.grading.base import Conversation
from rbr.models.device import reading_dtype
from rbr.models.load import chat_texts, load_causal, load_tokenizer, messages, taken_messages
from rbr.models.trainer import batch_arguments, common_arguments, run_training
from rbr.training.adapters import save_trained, train_part
from rbr.training.demonstrations import Example
from rbr.training.options import SFTOptions

IGNORED = -100  # what Transformers leaves out of a loss


def train_sft(
    base: Path,
    demonstrations: Sequence[Example | tuple[Conversation, str]],
    checkpoints: Path,
    target: Path,
    options: SFTOptions,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    base_name: str | None = None,
) -> dict[str, float]:
    """Fine-tune ``base`` and save the result to ``target``, an existing folder.

    A model's own answers leave its distribution where it is only if the loss is of the distribution that
    they were sampled from: the logits are divided by ``options.temperature``.

    Args:
        demonstrations: conversations and the answers to learn.
        checkpoints: folder from which an interrupted training resumes.
        base_name: what a saved adapter names as its base model; ``base`` by default.

    Returns:
        ``loss_first`` and ``loss_last`` (mean token loss over the first and last fifth of the steps),
        ``demonstrations``, and ``steps``.
    """
    examples = [Example(*demonstration) for demonstration in demonstrations]
    torch.manual_seed(seed)
    model = load_causal(base, dtype=reading_dtype() if options.lora else None)
    tokenizer = load_tokenizer(base)
    chat_texts(tokenizer, [example.conversation for example in examples])  # or a ModelError
    model, _ = train_part(model, options.trained_layers, options.lora)
    rows = [
        {
            "prompt": taken_messages(tokenizer, messages(example.conversation)),
            "completion": [{"role": "assistant", "content": example.answer}],
            "opening": example.opening,
        }
        for example in examples
    ]
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **common_arguments(checkpoints, seed),
            **batch_arguments(options, "sft"),
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            max_length=options.max_length,
            completion_only_loss=True,
            logging_steps=1,
            save_strategy="steps",
            save_steps=10,
            train_sampling_strategy="group_by_length",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    if options.answer_tokens:
        cut = partial(opening, tokens=options.answer_tokens)
        trainer.train_dataset = trainer.train_dataset.map(cut)
    plain: Any = trainer.model.get_base_model() if options.lora else trainer.model
    # As the trainer does it, but at a temperature; the outputs are those that it logs.
    add_fused_lm_head(plain, options.temperature, outputs=("log_probs", "entropy", "is_top1"))
    run_training(trainer, "sft", callbacks)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    save_trained(trainer, tokenizer, base, base_name or str(base), options.lora is not None, target)
    fifth = max(1, len(losses) // 5)
    return {
        "loss_first": sum(losses[:fifth]) / fifth,
        "loss_last": sum(losses[-fifth:]) / fifth,
        "demonstrations": float(len(rows)),
        "steps": float(len(losses)),
    }


def opening(row: dict[str, Any], tokens: int) -> dict[str, Any]:
    """A tokenised row, of an opening with no more than its first ``tokens`` to learn."""
    if not row["opening"]:
        return row
    learnt = [i for i, label in enumerate(row["labels"]) if label != IGNORED]
    end = learnt[:tokens][-1] + 1
    return {**row, **{name: row[name][:end] for name in ("input_ids", "labels")}}
