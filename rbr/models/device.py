"""Where models run, and in which numbers; nothing else in ``rbr`` chooses a device.

Where bfloat16 is multiplied in hardware, a model that is only read has its weights in it: half of the
memory, and most of the speed. What is trained has float32 weights, and a forward pass in bfloat16
(autocast). Elsewhere all is float32, which is faster there; ``RBR_FLOAT32=1`` asks for it everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch

from rbr.models.trunk import length_batches

if TYPE_CHECKING:
    from torch import nn

    ModuleT = TypeVar("ModuleT", bound=nn.Module)

# Padded tokens of a batch that a GPU reads: enough to keep it busy, some 6 GB of an 8B model's activations.
GPU_TOKENS = 32_768
# Environment variable; with it the same numbers are found on machines of different processors.
FLOAT32 = "RBR_FLOAT32"


def step_device() -> torch.device:
    """The device of this process: its own GPU where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    _set_up_gpu()
    # Of several processes each has its own, whether or not one of them has been chosen yet.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))


@cache
def _set_up_gpu() -> None:
    # TF32 for what stays in float32.
    torch.set_float32_matmul_precision("high")
    # cuDNN's attention is planned anew for each shape, and generation has a new one at every token.
    torch.backends.cuda.enable_cudnn_sdp(False)


def half_precision() -> bool:
    """Whether the step's device multiplies bfloat16 in hardware, as GPUs since 2020 and many CPUs do."""
    if os.environ.get(FLOAT32, "0") not in ("", "0"):
        return False
    if step_device().type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def reading_dtype() -> torch.dtype:
    """The numbers of a model that is only read."""
    return torch.bfloat16 if half_precision() else torch.float32


def reading_autocast() -> AbstractContextManager[object]:
    """A forward pass in the numbers for reading, of weights that stay in float32."""
    return torch.autocast(step_device().type, torch.bfloat16) if half_precision() else nullcontext()


def for_reading(model: ModuleT) -> ModuleT:
    """The model on the step's device, in the numbers and the mode for reading."""
    return model.to(step_device(), reading_dtype()).eval().requires_grad_(False)


def on_device(batch: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """A batch of inputs on the device of the model that reads them."""
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def reading_batches(
    lengths: Sequence[int], rows: int, area: int | None = None
) -> Iterator[list[int]]:
    """Indices in batches for reading, see ``length_batches``.

    Args:
        rows, area: limits on the CPU; a GPU's batches have as many rows as ``GPU_TOKENS`` hold.
    """
    if step_device().type == "cpu":
        return length_batches(lengths, rows, area)
    return length_batches(lengths, max(1, len(lengths)), GPU_TOKENS)
