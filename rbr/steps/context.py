"""What a step is given: where files are, the settings, and where progress and metrics go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rbr.files import replacing
from rbr.settings import Settings, Variant

if TYPE_CHECKING:
    from rbr.rules import Rules


class Tracker(Protocol):
    """Where a step reports to while it runs (MLflow behind it, or nothing)."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics, over ``step`` where given."""

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Record a table of sample rows."""

    def message(self, text: str) -> None:
        """Say what is being done."""


class Silent:
    """A tracker that records nothing."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        pass

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        pass

    def message(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class Context:
    """One step of one variant over one workspace.

    Attributes:
        root: the project's root; ``data/``, ``models/``, ``rules/`` lie under it.
        variant: None for steps that are not per variant.
    """

    root: Path
    settings: Settings
    variant: Variant | None = None
    tracker: Tracker = field(default_factory=Silent)

    @property
    def rules(self) -> Rules:
        """The rules as the artifact ``rules`` holds them; the written ones before it is made.

        All steps of a run see the same rules, also when someone edits them meanwhile.
        """
        from rbr.rules import load_rules
        from rbr.rules.compiled import load_compiled

        compiled = self.path("rules")
        return load_compiled(compiled) if compiled.is_dir() else load_rules(self.root / "rules")

    @property
    def source(self) -> Path:
        return self.root / "data" / "source"

    def path(self, artifact: str, variant: str | None = None) -> Path:
        """Folder of an artifact (of a variant, for the steps that have them)."""
        from rbr.steps import STEPS

        folder = self.root / STEPS[artifact].folder / artifact
        return folder / variant if variant else folder

    def scratch(self, artifact: str, key: str) -> Path:
        """Folder for checkpoints of unfinished work: survives a kill, removed by the step at its end.

        Args:
            key: digest of what the work depends on; folders of other keys are removed.
        """
        parent = self.root / ".cache" / "unfinished" / artifact / (self.variant or "all")
        folder = parent / key
        if parent.is_dir():
            for former in parent.iterdir():
                if former != folder:
                    shutil.rmtree(former, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def output(self, artifact: str) -> Iterator[Path]:
        """Yield a fresh folder that becomes the artifact when the block succeeds."""
        with replacing(self.path(artifact, self.variant)) as folder:
            folder.mkdir(parents=True)
            yield folder
