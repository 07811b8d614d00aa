"""Low-rank adapters (Hu et al. 2022) through PEFT: what is trained, and what is saved.

With an adapter the model beneath stays as it is: with the adapter off it is the reference, and no second
copy is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from rbr.errors import ModelError
from rbr.models.load import load_causal, stored_dtype
from rbr.models.trainer import save_model
from rbr.models.trunk import decoder_of, train_upper_layers
from rbr.training.options import LoRAOptions

ADAPTER = "adapter"
DEFAULT = "default"  # PEFT's name of a model's own adapter


def train_part(
    model: Any, trained_layers: int | None, lora: LoRAOptions | None, task_type: str = "CAUSAL_LM"
) -> tuple[Any, int | None]:
    """Freeze all of a model but what is trained: the upper layers, or adapters on them.

    Args:
        trained_layers: upper layers; None for all.
        lora: adapters on linear layers; None to train the layers themselves.
        task_type: of PEFT; of ``SEQ_CLS`` the head is trained too.

    Returns:
        The model (a ``PeftModel`` with adapters) and the number of frozen layers below, its trunk. The
        trunk is None where adapters are on all layers: any architecture that PEFT knows will do then.

    Raises:
        ModelError: if layers are to be counted in an architecture whose decoder cannot be split, or no
            layer has a name of ``lora.target_modules``.
    """
    if lora is None:
        count = len(decoder_of(model).layers) if trained_layers is None else trained_layers
        return model, train_upper_layers(model, count)
    targets: Any = list(lora.target_modules) if lora.target_modules else "all-linear"
    trunk = None
    if trained_layers is not None:
        layers = decoder_of(model).layers
        trunk = max(0, len(layers) - trained_layers)
        targets = linear_names(model, layers[trunk:], lora.target_modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type=task_type,
    )
    try:
        return get_peft_model(model, config), trunk
    except ValueError as error:
        raise ModelError(
            f"{type(model).__name__} takes no adapter ({error}): name its linear layers in"
            " lora.target_modules, or set lora to null and trained_layers to a number"
        ) from error


def linear_names(model: Any, layers: Any, names: tuple[str, ...] | None) -> list[str]:
    """Full names of the linear modules within layers, of those whose last part is in ``names``."""
    within = {id(module) for layer in layers for module in layer.modules()}
    return [
        name
        for name, module in model.named_modules()
        if id(module) in within
        and isinstance(module, nn.Linear | Conv1D)
        and (names is None or name.rpartition(".")[2] in names)
    ]


def causal_model(model: Any) -> Any:
    """The Transformers model within: adapters are part of its layers."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


@contextmanager
def adapter_off(model: PeftModel) -> Iterator[None]:
    """The model as it was before any training."""
    with model.disable_adapter():
        yield


def save_trained(
    trainer: Any, tokenizer: Any, start: Path, base: str, lora: bool, target: Path
) -> None:
    """Write a trained model, which loads as any model of Transformers.

    With adapters: the adapter to ``target/adapter``, and the model that it is merged into to ``target``.

    Args:
        start: the model that the training started from.
        base: what the adapter names as its base: the folder as seen from where it is loaded.
    """
    if not lora:
        save_model(trainer, tokenizer, target)
        return
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        model, prefix = trainer.accelerator.unwrap_model(trainer.model), ""
        if not isinstance(model, PeftModel):  # an actor-critic
            model, prefix = model.policy, "policy."
        model.peft_config[DEFAULT].base_model_name_or_path = base
        model.save_pretrained(
            target / ADAPTER,
            state_dict={
                n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)
            },
            # TRL puts a copy beside it for the reference.
            selected_adapters=[DEFAULT],
            # Else PEFT asks the hub what the base model's vocabulary was.
            save_embedding_layers=False,
        )
        (target / ADAPTER / "README.md").unlink(missing_ok=True)  # a form to be filled in
        # Of fresh weights: the trainer's may be spread over processes.
        merged = PeftModel.from_pretrained(load_causal(start), str(target / ADAPTER))
        merged.merge_and_unload().to(stored_dtype(start)).save_pretrained(target)
        tokenizer.save_pretrained(target)
    trainer.accelerator.wait_for_everyone()
