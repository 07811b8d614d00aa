"""The supervisord that keeps the services running: starting it, asking it, shutting it down."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from orchestration.leftovers import kill_marked
from rbr.errors import RBRError

CONFIG = Path(__file__).with_name("supervisord.conf")
LONGEST_SOCKET_PATH = 107  # the kernel's limit


class Supervisor:
    """The supervisord of one state folder, over its socket.

    Raises:
        RBRError: if the folder's path is too long for a socket.
    """

    def __init__(self, state: Path) -> None:
        socket = state / "supervisor.sock"
        # While supervisord starts, its process id is appended.
        if len(f"{socket}.1234567".encode()) > LONGEST_SOCKET_PATH:
            raise RBRError("this path is too long for a socket: set a shorter `state`", state)
        self._state = state
        self._url = f"unix://{socket}"

    def _rpc(self) -> Any:
        transport = SupervisorTransport(serverurl=self._url)
        return ServerProxy("http://localhost", transport=transport).supervisor

    def pids(self) -> dict[str, int]:
        """Process ids of the services, 0 for one that is not running; empty without supervisord."""
        try:
            return {info["name"]: info["pid"] for info in self._rpc().getAllProcessInfo()}
        except (OSError, Fault):  # it is not running, or shutting down
            return {}

    def run(self, environment: dict[str, str]) -> None:
        """Start supervisord where it is not running yet."""
        if self.pids():
            return
        kill_marked(SUPERVISOR_SERVER_URL=self._url)
        self.log("supervisord").parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIG)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RBRError(f"supervisord does not start: {done.stderr.strip()[-300:]}", CONFIG)

    def start(self, service: str, problem: Callable[[], str | None], seconds: float) -> None:
        """Start a service unless it is running, and wait until it is healthy.

        Args:
            problem: what is wrong with the service, or None.

        Raises:
            RBRError: with the last lines of its log, if it ends or does not get healthy in time.
        """
        with suppress(Fault):
            self._rpc().startProcess(service, False)
        deadline = time.monotonic() + seconds
        pid = self.pids().get(service, 0)
        while True:
            ended = pid == 0 or self.pids().get(service) != pid
            found = "ended" if ended else problem()
            if found is None:
                return
            if ended:
                self.stop(service)  # no further attempts
            if ended or time.monotonic() > deadline:
                lines = self.log(service).read_text("utf-8", errors="replace").splitlines()[-3:]
                raise RBRError(f"{service} {found}: {' / '.join(lines)}", self.log(service))
            time.sleep(0.5)

    def stop(self, service: str) -> None:
        """Stop a service if it is running."""
        with suppress(Fault):
            self._rpc().stopProcess(service)

    def shut_down(self) -> None:
        """Stop supervisord and all services, the daemon first, with all processes they started."""
        with suppress(OSError):  # nothing listens on the socket, or no longer
            while True:
                with suppress(Fault):  # it is shutting down already
                    self._rpc().shutdown()
                time.sleep(0.1)
        kill_marked(SUPERVISOR_SERVER_URL=self._url)

    def log(self, name: str) -> Path:
        return self._state / "logs" / f"{name}.log"
