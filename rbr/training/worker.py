"""``python -m rbr.training.worker JOB``: one process of a launched training (see ``launch``)."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbr.errors import RBRError
from rbr.settings import Settings
from rbr.steps.context import Context


class Wire:
    """The tracker of a launched training: JSON lines to the process that asked for it."""

    def __init__(self, connection: socket.socket, speaks: bool) -> None:
        self._connection = connection
        self._speaks = speaks
        self._lock = threading.Lock()

    def send(self, kind: str, value: Any, **more: Any) -> None:
        line = json.dumps({"kind": kind, "value": value, **more}, default=float)
        with self._lock:
            self._connection.sendall(line.encode() + b"\n")

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        if self._speaks:
            self.send("metrics", dict(values), step=step)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        if self._speaks:
            self.send("table", rows, name=name)

    def message(self, text: str) -> None:
        if self._speaks:
            self.send("message", text)


def end_with(connection: socket.socket) -> None:
    """End this process as soon as the other end is gone: it never writes."""
    connection.recv(1)
    os._exit(1)


def main(path: str) -> int:
    """Run a job; returns the exit status."""
    job = json.loads(Path(path).read_text())
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(job["address"])
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    main_process = int(os.environ.get("RANK", "0")) == 0
    wire = Wire(connection, speaks=main_process)
    context = Context(
        Path(job["root"]), Settings.model_validate(job["settings"]), job["variant"], wire
    )
    train = importlib.import_module(f"rbr.steps.{job['step']}").train
    try:
        metrics = train(context, Path(job["scratch"]), Path(job["folder"]))
    except RBRError as error:
        wire.send("error", str(error))
        return 1
    if main_process:
        wire.send("result", metrics)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
