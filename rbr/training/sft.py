"""Supervised fine-tuning with TRL's ``SFTTrainer``; the loss is on the completion alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rbr.grading.base import Conversation
from rbr.models.load import load_causal, load_tokenizer, messages
from rbr.models.trunk import train_upper_layers
from rbr.settings import Settings
from rbr.steps.context import Tracker
from rbr.training.common import TrackerCallback, common_arguments, going_on, per_process, save_model


def train_sft(
    base: Path,
    demonstrations: Sequence[tuple[Conversation, str]],
    scratch: Path,
    target: Path,
    settings: Settings,
    tracker: Tracker,
) -> dict[str, float]:
    """Fine-tune and save to ``target`` (an existing folder); goes on from ``scratch``.

    Args:
        demonstrations: conversations and the answers to learn.

    Returns:
        ``loss_first`` and ``loss_last``: mean token loss over the first and last fifth of the steps.
    """
    options = settings.sft
    torch.manual_seed(settings.seed)
    model = load_causal(base)
    tokenizer = load_tokenizer(base)
    train_upper_layers(model, options.trained_layers)
    rows = [
        {
            "prompt": messages(conversation),
            "completion": [{"role": "assistant", "content": answer}],
        }
        for conversation, answer in demonstrations
    ]
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **common_arguments(scratch, settings),
            per_device_train_batch_size=per_process(options.batch_size, "sft.batch_size"),
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            max_length=options.max_length,
            completion_only_loss=True,
            logging_steps=1,
            save_strategy="steps",
            save_steps=10,
            gradient_checkpointing=False,
            train_sampling_strategy="group_by_length",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    TrackerCallback.attach(trainer, tracker, "sft")
    trainer.train(resume_from_checkpoint=going_on(scratch, tracker))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    save_model(trainer, tokenizer, target)
    part = max(1, len(losses) // 5)
    return {
        "loss_first": sum(losses[:part]) / part,
        "loss_last": sum(losses[-part:]) / part,
        "demonstrations": float(len(rows)),
        "steps": float(len(losses)),
    }
