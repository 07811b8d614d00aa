"""Numbers that are not finite stop a training: what a model learns from them is lost for good.

Transformers logs a loss of NaN as 0 and goes on; every weight is NaN after the next update, and the
checkpoint after that holds nothing else. Here the first such number ends the training, before any weight
changes, and names the rows that it came from.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from rbr.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

SHOWN_ROWS, LOGGED_ROWS, SHOWN_CHARACTERS = 3, 64, 60
ADVICE = (
    "no weight was changed by it; lower the learning rate, or look at these rows and at the weights that"
    " the training started from"
)


class FiniteGuard(TrainerCallback):
    """Stops a Transformers trainer at the first loss, gradient or weight that is not finite.

    The loss of each batch and the gradient's norm of each update are checked before the update, the
    trained weights before they are saved, and all weights before the first update.

    Args:
        trainer: its ``compute_loss`` and ``_get_grad_norm`` are wrapped.
        prefix: what the message begins with.

    Raises:
        TrainingError: in the training, naming the update and the rows of its batch.
    """

    def __init__(self, trainer: Any, prefix: str) -> None:
        self._trainer = trainer
        self._prefix = prefix
        self._batches: list[Mapping[str, Any]] = []  # since the last update
        trainer.compute_loss = self._loss(trainer.compute_loss)
        trainer._get_grad_norm = self._gradient(trainer._get_grad_norm)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._check_weights("before the first update", frozen=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save:
            self._check_weights(f"after update {state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._check_weights(f"after update {state.global_step}")

    def _check_weights(self, when: str, frozen: bool = False) -> None:
        bad = not_finite(self._trainer.model, frozen)
        if bad:
            raise TrainingError(
                f"{self._prefix}: {when} the weight {bad} is not finite; what the training started from"
                " is broken, or its learning rate is too high"
            )

    def _loss(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        def checked(model: Any, inputs: Mapping[str, Any], *rest: Any, **named: Any) -> Any:
            if self._trainer.model.training:
                self._batches.append(inputs)
            found = compute(model, inputs, *rest, **named)
            loss = found[0] if isinstance(found, tuple) else found
            self._require("loss", loss.detach(), [inputs])
            return found

        return checked

    def _gradient(self, norm_of: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*rest: Any, **named: Any) -> Any:
            norm = norm_of(*rest, **named)
            if norm is not None:
                self._require("norm of the gradient", norm, self._batches)
            self._batches.clear()
            return norm

        return checked

    def _require(self, name: str, value: Any, batches: list[Mapping[str, Any]]) -> None:
        # Of sharded gradients it is sharded too.
        number = float(value.full_tensor() if hasattr(value, "full_tensor") else value)
        if math.isfinite(number):
            return
        rows = [row for batch in batches for row in rows_of(batch, self._trainer.processing_class)]
        update = self._trainer.state.global_step + 1
        for row in rows[:LOGGED_ROWS]:
            logger.error("%s: update %d: %s", self._prefix, update, row)
        more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        raise TrainingError(
            f"{self._prefix}: the {name} of update {update} is {number}, on the rows"
            f" {', '.join(rows[:SHOWN_ROWS])}{more}: {ADVICE}"
        )


def not_finite(model: nn.Module, frozen: bool = False) -> str | None:
    """The name of a weight that holds NaN or an infinity, or None; of a trained one, or of ``frozen`` too."""
    for name, parameter in model.named_parameters():
        own = parameter.detach()
        if hasattr(own, "to_local"):  # this process's shard
            own = own.to_local()
        if (frozen or parameter.requires_grad) and not torch.isfinite(own).all():
            return name
    return None


def rows_of(batch: Mapping[str, Any], tokenizer: Any) -> list[str]:
    """What a person can find the rows of a batch by: their numbers, or how their text begins.

    Args:
        batch: a step's inputs: with ``index``, the rows' numbers; else with their token ids.
        tokenizer: of the token ids; None where there is none.
    """
    if "index" in batch:
        return [str(int(index)) for index in batch["index"]]
    names = [name for name in ("prompt_ids", "input_ids", "completion_ids") if name in batch]
    if not names or not hasattr(tokenizer, "batch_decode"):
        return []
    texts: list[str] = tokenizer.batch_decode(batch[names[0]], skip_special_tokens=True)
    return [repr(" ".join(text.split())[:SHOWN_CHARACTERS]) for text in texts]
