"""Fixtures that several tests share; what is made for a session is made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbr.rules import Rules, load_rules

ROOT = Path(__file__).resolve().parent.parent
# Where CI runs, nothing else may be skipped; each reason says what the machine lacks.
ALLOWED_SKIPS = (
    "RBR_LONG=1 runs it",  # hours
    "RBR_FAULTS=1 runs it",  # a quarter of an hour; for a change of how runs start or are recorded
    "needs Chromium: apt-get install chromium",
    "PostgreSQL is not installed (Debian: apt-get install postgresql)",
    "no .venv-vllm: `make vllm` makes it",
    "inspect-ai is not installed (the extra `inspect`)",
)

# The two processes of tests, and what they start, share two cores: threads that wait for each other spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Two ways to the same numbers agree closely in float32 alone; tests of bfloat16 ask for it.
os.environ["RBR_FLOAT32"] = "1"
# Under `make test`, a test's own `make` would count as a recursive one and print the folders it enters.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the tests: one has those of the finished graph, which it begins with.

    A file's tests stay in one process, since they share what the file's fixtures made.
    """

    def group(item: pytest.Item) -> str:
        of_graph = "finished" in getattr(item, "fixturenames", ())
        return "graph" if of_graph else item.path.as_posix()

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: group(item) != "graph")


def skips(reporter: pytest.TerminalReporter) -> dict[str, int]:
    """The reasons for which tests were skipped in this session, and how many each."""
    reasons: dict[str, int] = {}
    for report in reporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        reasons[reason] = reasons.get(reason, 0) + 1
    return reasons


def not_allowed(reasons: dict[str, int]) -> list[str]:
    """Reasons that CI does not accept; elsewhere any is."""
    return [reason for reason in reasons if os.environ.get("CI") and reason not in ALLOWED_SKIPS]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not_allowed(skips(reporter)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = skips(terminalreporter)
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in reasons.items():
        mark = "NOT ALLOWED IN CI: " if not_allowed({reason: count}) else ""
        terminalreporter.line(f"{count}: {mark}{reason}", red=bool(mark))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def rules(root: Path) -> Rules:
    """The rules as they are shipped."""
    return load_rules(root / "rules")


@pytest.fixture
def rules_folder(root: Path, tmp_path: Path) -> Path:
    """A copy of the rules that a test may break."""
    return Path(shutil.copytree(root / "rules", tmp_path / "rules"))
