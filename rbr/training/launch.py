"""A training in its own processes under ``accelerate launch``.

The processes load what they need from the workspace, report through a Unix socket (JSON lines: metrics,
tables, messages, the result), and end when the process that asked for them does: a killed pipeline
leaves no training behind that would write into the checkpoints of the next one.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rbr
from rbr.errors import TrainingError
from rbr.settings import Launch
from rbr.steps.context import Context, Tracker

SHOWN_LINES = 15
PATIENCE = 10.0  # seconds that processes get to end by themselves


def launched(step: str, context: Context, scratch: Path, folder: Path) -> dict[str, float]:
    """Call ``rbr.steps.<step>.train(context, scratch, folder)`` as ``settings.launch`` says.

    Args:
        scratch: checkpoints; a killed call goes on from them when called again.
        folder: where the artifact is written.

    Raises:
        TrainingError: if a process failed or was killed, with the end of its output.
    """
    if context.settings.launch.processes is None:
        return dict(importlib.import_module(f"rbr.steps.{step}").train(context, scratch, folder))
    with tempfile.TemporaryDirectory(prefix="rbr-") as private:
        address = Path(private) / "socket"
        job = {
            "step": step,
            "root": str(context.root.resolve()),
            "variant": context.variant,
            "settings": context.settings.model_dump(mode="json"),
            "scratch": str(scratch.resolve()),
            "folder": str(folder.resolve()),
            "address": str(address),
        }
        (Path(private) / "job.json").write_text(json.dumps(job))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(address))
            listener.listen()
            log = scratch / "output.log"
            with running(command(context.settings.launch, Path(private) / "job.json"), log) as own:
                return listen(listener, own, context.tracker, log)


def command(launch: Launch, job: Path) -> list[str]:
    """The ``accelerate launch`` of a job."""
    processes = launch.processes or 1
    options = ["--num_processes", str(processes)]
    if launch.config_file:
        options += ["--config_file", launch.config_file]
    else:
        threads = max(1, (os.cpu_count() or 1) // processes)
        options += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        options += ["--num_cpu_threads_per_process", str(threads), "--main_process_port", "0"]
        # The distributed launcher; without GPUs the processes talk over gloo.
        options += ["--multi_gpu"] if processes > 1 else []
    run = [sys.executable, "-m", "accelerate.commands.launch", *options]
    return [*run, "-m", "rbr.training.worker", str(job)]


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The processes, their output in ``log``; none is left when the block ends."""
    home = str(Path(rbr.__file__).parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as output:
        own = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            yield own
        finally:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(own.pid, sign)
                    own.wait(PATIENCE)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            own.wait()


def listen(
    listener: socket.socket, own: subprocess.Popen[bytes], tracker: Tracker, log: Path
) -> dict[str, float]:
    """Pass on what the processes tell until the result is there and they have ended."""
    result: dict[str, float] | None = None
    pending: dict[int, bytes] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            events = selector.select(timeout=0.5)
            for key, _ in events:
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                    continue
                received = source.recv(1 << 16)
                if not received:
                    selector.unregister(source)
                    source.close()
                    continue
                *lines, rest = (pending.pop(key.fd, b"") + received).split(b"\n")
                pending[key.fd] = rest
                for line in lines:
                    found = tell(json.loads(line), tracker)
                    result = found if found is not None else result
            if not events and own.poll() is not None:
                break
    if result is None or own.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-SHOWN_LINES:]
        raise TrainingError(
            f"a training process ended with status {own.returncode}; the same command goes on from"
            f" the last checkpoint. Its last words: {' | '.join(last)}",
            log,
        )
    return result


def tell(message: dict[str, Any], tracker: Tracker) -> dict[str, float] | None:
    """Hand one message to the tracker; returns the result if it is that."""
    kind, value = message["kind"], message["value"]
    if kind == "metrics":
        tracker.metrics(value, message["step"])
    elif kind == "table":
        tracker.table(message["name"], value)
    elif kind == "message":
        tracker.message(value)
    elif kind == "error":
        raise TrainingError(value)
    elif kind == "result":
        return dict(value)
    return None
