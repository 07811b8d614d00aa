"""One function over batches: in this process, or by actors on a Ray cluster (Ray Data).

The batches do not depend on where they run, and each is worked on alone. So the results are the same
for any number of workers, and a batch whose node dies is simply repeated.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rbr.errors import RBRError
from rbr.scale.cluster import connect

if TYPE_CHECKING:
    from rbr.scale.options import ClusterOptions

BatchT = TypeVar("BatchT")
ResultT = TypeVar("ResultT")
_NAMED = re.compile(r"[\w.]*(Error|Exception|Interrupt): ")


def run_batches(
    make: Callable[[], Callable[[BatchT], ResultT]],
    batches: Sequence[BatchT],
    scale: ClusterOptions | None = None,
) -> Iterator[tuple[int, ResultT]]:
    """Work on batches; results come as they are ready.

    Args:
        make: makes a worker, which holds the model: called once in this process, or once an actor. It
            and what it needs must be picklable, its files readable on every node.
        scale: where to run; without an ``address`` here, in order.

    Yields:
        The number of a batch and its result, each batch once, whatever fails on the way.

    Raises:
        RBRError: what a worker raised, or that the cluster could not do the work.
    """
    if not batches:
        return
    if scale is None or scale.address is None:
        worker = make()
        for number, batch in enumerate(batches):
            yield number, worker(batch)
        return
    yield from _on_cluster(make, batches, scale)


class _Actor:
    """A worker on the cluster. An error that a person can act on travels as a value."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._work = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result: Any = self._work(pickle.loads(row["batch"]))
        except RBRError as error:
            result = error
        return {"number": row["number"], "result": pickle.dumps(result)}


def _cause(error: Exception) -> str:
    """One line: what went wrong in the worker, under all that Ray says around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if _NAMED.match(line) and not line.startswith("ray.")]
    return (named or lines or [type(error).__name__])[-1]


def _on_cluster(
    make: Callable[[], Callable[[BatchT], ResultT]],
    batches: Sequence[BatchT],
    scale: ClusterOptions,
) -> Iterator[tuple[int, ResultT]]:
    connect(scale)
    from ray.data import ActorPoolStrategy, DataContext, from_items
    from ray.exceptions import RayError

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"number": i, "batch": pickle.dumps(batch)} for i, batch in enumerate(batches)]
    # A block a batch: the unit that is worked on again when a node dies.
    done = from_items(rows, override_num_blocks=len(rows)).map(
        _Actor,
        fn_constructor_args=(make,),
        compute=ActorPoolStrategy(min_size=1, max_size=scale.workers, initial_size=scale.workers),
        num_cpus=scale.cpus,
        num_gpus=scale.gpus or None,
    )
    seen: set[int] = set()
    try:
        for row in done.iter_rows():
            number, result = int(row["number"]), pickle.loads(row["result"])
            if isinstance(result, RBRError):
                raise result
            if number not in seen:
                seen.add(number)
                yield number, result
    except RayError as error:
        raise RBRError(f"the cluster at '{scale.address}' failed: {_cause(error)}") from error
    if len(seen) < len(batches):
        raise RBRError(
            f"the cluster at '{scale.address}' returned {len(seen)} of {len(batches)} batches: run"
            " the same command again"
        )
