"""Processes that outlive the command that starts them: started, seen, stopped with all their children."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from rbr.files import read_json, write_json

GRACE = 20.0


class Processes:
    """The processes of one state folder, by name; kept as ``processes.json``."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._file = state / "processes.json"

    def log(self, name: str) -> Path:
        return self._state / "logs" / f"{name.replace(' ', '_')}.log"

    def _known(self) -> dict[str, list[float]]:
        return dict(read_json(self._file)) if self._file.exists() else {}

    def names(self) -> list[str]:
        """Those that were started and not stopped, whether they live or not."""
        return list(self._known())

    def alive(self, name: str) -> bool:
        """Whether the process lives: the same one, not another that got its number since."""
        if name not in self._known():
            return False
        pid, created = self._known()[name]
        try:
            process = psutil.Process(int(pid))
            return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def start(
        self, name: str, command: Sequence[str], environment: dict[str, str], root: Path
    ) -> None:
        """Start a process in a session of its own; what it says goes to its log."""
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        created = psutil.Process(process.pid).create_time()
        write_json(self._file, {**self._known(), name: [process.pid, created]})

    def stop(self, name: str) -> None:
        """End a process and all of its session: politely first, by force after ``GRACE`` seconds."""
        if name not in self._known():
            return
        pid, created = self._known()[name]
        members = _session(int(pid), created)
        for process in [own for own in members if own.pid == pid] or members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        psutil.wait_procs([own for own in members if own.pid == pid] or members, timeout=GRACE)
        left = _session(int(pid), created)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=GRACE)
        rest = {key: value for key, value in self._known().items() if key != name}
        if rest:
            write_json(self._file, rest)
        else:
            self._file.unlink(missing_ok=True)


def _session(leader: int, created: float) -> list[psutil.Process]:
    """Living processes of the session that ``leader`` started (it may be dead itself)."""
    found: list[psutil.Process] = []
    # Session 0 and 1 are the machine's: in a container, everything there is of the session 0.
    if leader <= 1:
        return found
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            own = os.getsid(process.pid) == leader and process.create_time() >= created
            if own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
