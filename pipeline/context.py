"""What the body of an artifact is given: its files, the settings, and where to report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.run import NoRun, Run, progress
from rbr.files import digest_of

if TYPE_CHECKING:
    from pipeline.artifact import Artifact
    from pipeline.profile import Settings
    from pipeline.release.champion import Champion


@dataclass(frozen=True)
class Context:
    """One artifact of one workspace.

    Attributes:
        root: the workspace: ``data/``, ``models/`` and ``rules/`` lie under it.
        graph: all artifacts by key.
        champion: looks up the released model that a new one is compared with; None before the first.
    """

    root: Path
    settings: Settings
    artifact: Artifact
    graph: Mapping[str, Artifact]
    run: Run = field(default_factory=NoRun)
    champion: Callable[[], Champion | None] = lambda: None

    @property
    def source(self) -> Path:
        """What people write: prompts, gold rows, preferences."""
        return self.root / "data" / "source"

    @property
    def folder(self) -> Path:
        """Folder of this artifact."""
        return self.path(self.artifact.key)

    def path(self, key: str) -> Path:
        """Folder of an artifact."""
        return self.root / self.graph[key].path

    def own(self, name: str) -> Path:
        """Folder of the same variant's artifact of that name."""
        assert self.artifact.variant is not None
        return self.path(self.artifact.variant.key(name))

    def log(self, text: str) -> None:
        """Log what is being done."""
        self.run.log(text)

    def progress(self, task: str) -> Callable[[int, int], None]:
        """A progress callback that logs ``task: done/total``."""
        return progress(self.run, task)

    @contextmanager
    def checkpoints(self, *depends_on: Any) -> Iterator[Path]:
        """A folder for unfinished work: kept when the work is stopped, removed when it succeeds.

        Args:
            depends_on: all that the work depends on (JSON-like values); with other values it starts
                afresh, and what the former work left is removed.
        """
        parent = self.root / ".cache" / "unfinished" / self.artifact.key
        folder = parent / digest_of(*depends_on)
        if parent.is_dir():
            for former in parent.iterdir():
                if former != folder:
                    shutil.rmtree(former, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder)
