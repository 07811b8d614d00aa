"""A GPU made of the CPU's memory: it computes as the CPU does, and refuses what a GPU refuses.

Inside ``fake_gpu()`` torch believes in a CUDA device. Its tensors hold CPU tensors, and an operation on
tensors of two devices is an error, as it is on a GPU; so is reading one without copying it to the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
import torch._dynamo  # imported late, it would be confused by what is patched here
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class FakeTensor(torch.Tensor):
    """A tensor that says it is on the GPU."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> FakeTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=GPU,
            requires_grad=held.requires_grad,
        )
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"on the GPU: {self.held!r}"

    def tolist(self) -> list:
        return self.held.tolist()


def run(func, args, kwargs):
    """An operation as a GPU would run it."""
    inputs = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    on_gpu = [isinstance(t, FakeTensor) for t in inputs]
    # Numbers (tensors without dimensions) may come from the CPU.
    alien = [t for t, gpu in zip(inputs, on_gpu, strict=True) if not gpu and t.dim()]
    if any(on_gpu) and alien and func not in COPIES:
        raise RuntimeError(f"{func}: tensors on the GPU and on the CPU, {tuple(alien[0].shape)}")
    wanted = kwargs.get("device")
    target = any(on_gpu) if wanted is None else torch.device(wanted).type == "cuda"
    if func is torch.ops.aten.copy_.default:
        target = on_gpu[0]
    args, kwargs = tree_map_only(FakeTensor, lambda t: t.held, (args, kwargs))
    if wanted is not None:
        kwargs = {**kwargs, "device": CPU}
    found = func(*args, **kwargs)
    if not target:
        return found
    # What is written in place stays the same tensor.
    same = {id(t.held): t for t in inputs if isinstance(t, FakeTensor)}
    return tree_map_only(
        torch.Tensor, lambda t: same.get(id(t)) if id(t) in same else FakeTensor(t), found
    )


class _Generator(torch.Generator):
    """A generator of the CPU, whatever it is asked for."""

    def __new__(cls, device=None):
        return super().__new__(cls)


class _Factories(TorchDispatchMode):
    """Makes tensors that are asked for on the GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


@contextmanager
def fake_gpu() -> Iterator[torch.device]:
    """Torch with one GPU, of this process."""
    with ExitStack() as stack:
        for name, value in {
            "is_available": lambda: True,
            "is_bf16_supported": lambda including_emulation=True: True,
            "current_device": lambda: 0,
            "_lazy_init": lambda: None,
        }.items():
            stack.enter_context(patch.object(torch.cuda, name, value))
        stack.enter_context(patch.object(torch, "Generator", _Generator))
        stack.enter_context(_Factories())
        yield GPU
