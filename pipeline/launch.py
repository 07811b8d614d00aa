"""A training in its own processes under ``accelerate launch``.

The call is pickled, each process runs it, and the main one writes its result. The processes end when
the one that started them does: a killed pipeline leaves no training behind that would write into the
checkpoints of the next one.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipeline.run import library_log
from rbr.errors import RBRError, TrainingError

if TYPE_CHECKING:
    from pipeline.profile import Launch

Call = Callable[[], Mapping[str, float] | None]
# Lines of a process's output: for the log, an error that a person can act on, and what else it died of.
LOG, ERROR, DIED = "rbr: ", "rbr error: ", "rbr died: "
SHOWN_LINES = 15
# What the launcher says of a process that died: its own log, and a traceback of its own.
LAUNCHER_LOG, LAUNCHER = "torch/distributed/elastic/", "accelerate/commands/launch.py"
KILLED = re.compile(r"Signals\.SIG(\w+)|exitcode: -(\d+)")
GRACE = 10.0  # seconds that processes get to end by themselves


def launch(
    call: Call, options: Launch, threads: int | None, checkpoints: Path, log: Callable[[str], None]
) -> dict[str, float]:
    """Call a training as ``options`` say: in this process, or in several of its own.

    Args:
        call: picklable (a ``functools.partial`` of a module's function).
        threads: of torch, in this process; launched ones share the cores.
        checkpoints: the output of the processes is kept there as ``output.log``.
        log: receives what ``rbr`` logs in the main process of launched ones.

    Raises:
        TrainingError: if a process fails or is killed, with its last words.
    """
    if options.processes is None:
        return _run(call, threads)
    with tempfile.TemporaryDirectory(prefix="rbr-") as private:
        work, result = Path(private) / "call.pickle", Path(private) / "result.json"
        work.write_bytes(pickle.dumps((call, threads)))
        output = checkpoints / "output.log"
        with _processes(_command(options, work, result)) as running:
            assert running.stdout is not None
            died = _forward(running.stdout, output, log)
            status = running.wait()
        if status or not result.exists():
            lines = output.read_text(errors="replace").strip().splitlines()
            raise TrainingError(
                f"a training process {_end(lines, status)}; the same command resumes from the last"
                f" checkpoint. {_last_words(lines, died)}",
                output,
            )
        return dict(json.loads(result.read_text()))


def _run(call: Call, threads: int | None) -> dict[str, float]:
    if threads:
        import torch

        torch.set_num_threads(threads)
    return dict(call() or {})


def cores(options: Launch) -> int:
    """An artifact's share of the machine's cores."""
    return max(1, (os.cpu_count() or 1) // options.artifacts)


def _command(options: Launch, work: Path, result: Path) -> list[str]:
    """The ``accelerate launch`` of a pickled call."""
    processes = options.processes or 1
    arguments = ["--num_processes", str(processes)]
    if options.config_file:
        arguments += ["--config_file", options.config_file]
    else:
        threads = max(1, cores(options) // processes)
        arguments += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        arguments += ["--num_cpu_threads_per_process", str(threads), "--main_process_port", "0"]
        # The distributed launcher; without GPUs the processes talk over gloo.
        arguments += ["--multi_gpu"] if processes > 1 else []
    run = [sys.executable, "-m", "accelerate.commands.launch", *arguments]
    return [*run, "-m", "pipeline.launch", str(work), str(result)]


@contextmanager
def _processes(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The processes; none is left when the block ends, or this process does."""
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    running = subprocess.Popen(
        command,
        # Nothing is written to it: it closes when this process ends, however it ends.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield running
    finally:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(running.pid, sent)
                running.wait(GRACE)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        running.wait()


def _end(lines: Sequence[str], status: int) -> str:
    """How a process ended, by what its launcher says."""
    killed = next(filter(None, map(KILLED.search, lines)), None)
    if not killed:
        return f"ended with status {status}"
    name = signal.Signals[f"SIG{killed[1]}"] if killed[1] else signal.Signals(int(killed[2]))
    full = " (the machine's memory may be full)" if name is signal.SIGKILL else ""
    return f"was killed by {name.name}{full}"


def _last_words(lines: Sequence[str], died: str | None) -> str:
    """What a process died of, or else the end of its output without the launcher's."""
    if died:
        return f"It died of {died}"
    for start, line in enumerate(lines):
        launchers = any(LAUNCHER in frame for frame in lines[start + 1 : start + 8])
        if line.startswith("Traceback") and launchers:
            lines = lines[:start]
            break
    own = [line for line in lines if LAUNCHER_LOG not in line][-SHOWN_LINES:]
    return f"The end of its output: {' | '.join(own)}" if own else "It printed nothing."


def _forward(lines: IO[str], output: Path, log: Callable[[str], None]) -> str | None:
    """Keep the output, and pass on what is for the log.

    Returns:
        What the first process that died says of it, or None.

    Raises:
        TrainingError: for an error that a process reports.
    """
    died = None
    with output.open("w", encoding="utf-8") as kept:
        for line in lines:
            kept.write(line)
            kept.flush()
            if line.startswith(LOG):
                log(line.removeprefix(LOG).rstrip())
            elif line.startswith(ERROR):
                raise TrainingError(line.removeprefix(ERROR).rstrip())
            elif line.startswith(DIED):
                # The others die of its silence.
                died = died or line.removeprefix(DIED).rstrip()
    return died


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone."""
    # Not sys.stdin: Python aborts at its end while another thread holds that.
    while os.read(0, 1):
        pass
    os._exit(1)


def _report(prefix: str, text: str) -> None:
    """Print one line, by one write: several processes print at once."""
    sys.stdout.write(f"{prefix}{text}\n")


def main(work: str, result: str) -> int:
    """One process of a launched training; returns the exit status."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main_process = int(os.environ.get("RANK", "0")) == 0
    call, threads = pickle.loads(Path(work).read_bytes())
    try:
        with library_log(lambda text: _report(LOG, text) if main_process else None):
            metrics = _run(call, threads)
    except RBRError as error:
        _report(ERROR, str(error))
        return 1
    except Exception as error:
        traceback.print_exc()
        _report(DIED, " ".join(f"{type(error).__name__}: {error}".split()))
        return 1
    if main_process:
        Path(result).write_text(json.dumps(metrics, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
