"""A device made of the CPU's memory: it computes as the CPU does, and refuses what a GPU refuses.

Its tensors hold CPU tensors. An operation on tensors of two devices is an error, as it is on a GPU; so is
reading one without copying it to the CPU. PyTorch knows it as ``meta``: of its devices without hardware, one
that autograd takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import accelerate
import torch
import torch._dynamo  # imported late, it would be confused by what is patched here
import transformers
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only

from rbr.grading import tune
from rbr.models import device, trainer

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
COPY = torch.ops.aten.copy_.default
# A GPU takes indices from the CPU too, and TRL gives it some.
FROM_CPU = ("aten::copy_", "aten::_to_copy", "aten::to", "aten::index")


class FakeTensor(torch.Tensor):
    """A tensor that says it is on the device."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> FakeTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
            requires_grad=held.requires_grad,
        )
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"on the device: {self.held!r}"

    def tolist(self) -> list:
        return self.held.tolist()


def run(func, args, kwargs):
    """An operation as a GPU would run it."""
    inputs = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    on_device = [isinstance(t, FakeTensor) for t in inputs]
    if func is torch.ops.aten._has_compatible_shallow_copy_type.default:
        return len(set(on_device)) == 1
    # Numbers (tensors without dimensions) may come from the CPU.
    alien = [t for t, there in zip(inputs, on_device, strict=True) if not there and t.dim()]
    if any(t.device == DEVICE for t in alien):
        raise RuntimeError(f"{func}: a tensor without numbers")
    if any(on_device) and alien and func._schema.name not in FROM_CPU:
        raise RuntimeError(f"{func}: tensors on two devices, {tuple(alien[0].shape)} on the CPU")
    devices = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.device)]
    target = devices[0] == DEVICE if devices else any(on_device)
    if func is COPY:
        target = on_device[0]
    held_args, held_kwargs = tree_map_only(FakeTensor, lambda t: t.held, (args, kwargs))
    held_args, held_kwargs = tree_map_only(torch.device, lambda _: CPU, (held_args, held_kwargs))
    found = func(*held_args, **held_kwargs)
    if not target:
        return found
    # What is written in place stays the same tensor.
    same = {id(t.held): t for t in inputs if isinstance(t, FakeTensor)}
    return tree_map_only(
        torch.Tensor, lambda t: same[id(t)] if id(t) in same else FakeTensor(t), found
    )


class _Data(TorchFunctionMode):
    """Makes tensors of Python's numbers on the device; ``meta`` would leave the numbers out."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        wanted = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and wanted and torch.device(wanted) == DEVICE:
            return func(*args, **{**kwargs, "device": CPU}).to(DEVICE)
        return func(*args, **kwargs)


class _Factories(TorchDispatchMode):
    """Makes tensors that are asked for on the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def _loaded_outside(load):
    """Weights come from files to the CPU, by way of a ``meta`` of Transformers' own."""

    def loaded(cls, *args, **kwargs):
        with _disable_current_modes():
            return load.__func__(cls, *args, **kwargs)

    return classmethod(loaded)


def _there(own: property) -> property:
    """A device that is looked up as ever, and is the fake one then."""

    def device(self) -> torch.device:
        own.fget(self)
        return DEVICE

    return property(device)


@contextmanager
def fake_device() -> Iterator[torch.device]:
    """The step's device is a fake one while the block runs; so is that of trainers."""
    load = transformers.PreTrainedModel.from_pretrained
    with ExitStack() as stack:
        for module in (device, trainer, tune):
            stack.enter_context(patch.object(module, "step_device", lambda: DEVICE))
        stack.enter_context(patch.object(device, "half_precision", lambda: False))
        stack.enter_context(patch.object(trainer, "half_precision", lambda: False))
        for owner in (transformers.TrainingArguments, accelerate.Accelerator):
            stack.enter_context(patch.object(owner, "device", _there(owner.device)))
        stack.enter_context(
            patch.object(transformers.PreTrainedModel, "from_pretrained", _loaded_outside(load))
        )
        # Autocast knows no such device.
        stack.enter_context(patch.object(torch, "is_autocast_enabled", lambda *_: False))
        stack.enter_context(_Factories())
        stack.enter_context(_Data())
        yield DEVICE
