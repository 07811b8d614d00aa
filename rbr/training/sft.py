"""Supervised fine-tuning with TRL's ``SFTTrainer``; the loss is on the completion alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from rbr.grading.base import Conversation
from rbr.models.device import reading_dtype
from rbr.models.load import chat_texts, load_causal, load_tokenizer, messages, taken_messages
from rbr.models.trainer import batch_arguments, common_arguments, run_training
from rbr.training.adapters import save_trained, train_part
from rbr.training.options import SFTOptions


def train_sft(
    base: Path,
    demonstrations: Sequence[tuple[Conversation, str]],
    checkpoints: Path,
    target: Path,
    options: SFTOptions,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    base_name: str | None = None,
) -> dict[str, float]:
    """Fine-tune ``base`` and save the result to ``target``, an existing folder.

    Args:
        demonstrations: conversations and the answers to learn.
        checkpoints: folder from which an interrupted training resumes.
        base_name: what a saved adapter names as its base model; ``base`` by default.

    Returns:
        ``loss_first`` and ``loss_last`` (mean token loss over the first and last fifth of the steps),
        ``demonstrations``, and ``steps``.
    """
    torch.manual_seed(seed)
    model = load_causal(base, dtype=reading_dtype() if options.lora else None)
    tokenizer = load_tokenizer(base)
    chat_texts(tokenizer, [conversation for conversation, _ in demonstrations])  # or a ModelError
    model, _ = train_part(model, options.trained_layers, options.lora)
    rows = [
        {
            "prompt": taken_messages(tokenizer, messages(conversation)),
            "completion": [{"role": "assistant", "content": answer}],
        }
        for conversation, answer in demonstrations
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
