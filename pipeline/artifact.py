"""How an artifact is declared: ``@artifact(...)`` over the function that makes it.

    @artifact(folder="data", group="data", inputs=("rules",), settings=("gold",))
    def gold_propositions(context, output): ...

    @gold_propositions.gate
    def expectations(context): ...

Both doors, Dagster and ``dvc repro``, take the graph from these declarations, and call the same body.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.variants import Variant

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.gates import Part
    from pipeline.profile import ExternalSet

# Makes an artifact in a fresh folder, which then takes the former one's place; returns its metrics.
Body = Callable[["Context", Path], Mapping[str, float]]
Gate = Callable[["Context"], "list[Part]"]
Pool = Literal["grader", "training", "gpu"]


@dataclass(frozen=True)
class Artifact:
    """One artifact: a node of the graph.

    Attributes:
        key: ``name``, ``variant/name``, or ``name/external``.
        external: the external evaluation set that it is of.
        inputs: keys of the artifacts that it reads.
        sources: files and folders that people write, relative to the root.
        rules: sections of the compiled rules (files of ``data/rules``) that it reads.
        settings: sections, and single values, of the profile that it reads.
        pool: what it occupies while it is made (Dagster's concurrency pools); None for next to nothing.
        plot: file that ``dvc plots`` shows.
        gate: what must hold before anything reads the artifact.
        alarm: what is worth a warning, and stops nothing.
    """

    name: str
    variant: Variant | None
    external: str | None
    description: str
    folder: Literal["data", "models"]
    group: str
    inputs: tuple[str, ...]
    sources: tuple[str, ...]
    rules: tuple[str, ...]
    settings: tuple[str, ...]
    kinds: tuple[str, ...]
    owners: tuple[str, ...]
    pool: Pool | None
    plot: str | None
    body: Body
    gate: Gate | None
    alarm: Gate | None

    @property
    def key(self) -> str:
        if self.external:
            return f"{self.name}/{self.external}"
        return self.variant.key(self.name) if self.variant else self.name

    @property
    def stage(self) -> str:
        """Its stage in ``dvc.yaml``, whose names have no slash."""
        return self.key.replace("/", "-")

    @property
    def path(self) -> str:
        """Its folder, relative to the root."""
        part = self.variant.name if self.variant else self.external
        return f"{self.folder}/{self.name}" + (f"/{part}" if part else "")


Inputs = tuple[str, ...] | Callable[..., Sequence[str]]


@dataclass
class Declaration:
    """What ``@artifact`` makes of a function: an artifact, or one for each variant or external set."""

    body: Body
    per_variant: bool
    per_set: bool
    inputs: Inputs
    rules: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)
    expectations: Gate | None = None
    warnings: Gate | None = None

    @property
    def name(self) -> str:
        return self.body.__name__

    def gate(self, expectations: Gate) -> Gate:
        """Decorator of the function that says what must hold before anything reads the artifact.

        The code digest of the artifact leaves it out: a gate reads what was made and changes nothing.
        """
        self.expectations = expectations
        return expectations

    def alarm(self, warnings: Gate) -> Gate:
        """Decorator of the function that says what is worth a warning; of an artifact with a gate.

        It names the check in Dagster, and its docstring describes it.
        """
        self.warnings = warnings
        return warnings

    def artifacts(
        self, variants: Sequence[Variant], sets: Mapping[str, ExternalSet]
    ) -> list[Artifact]:
        """The artifacts of a graph with these variants and external evaluation sets."""
        if self.per_variant:
            return [self._artifact((variant,), variant=variant) for variant in variants]
        reads = (variants, tuple(sets))
        if self.per_set:
            return [
                self._artifact(reads, external=name, sources=chosen.files)
                for name, chosen in sets.items()
            ]
        return [self._artifact(reads)]

    def _artifact(
        self,
        reads: tuple[Any, ...],
        variant: Variant | None = None,
        external: str | None = None,
        sources: tuple[str, ...] = (),
    ) -> Artifact:
        inputs = tuple(self.inputs(*reads) if callable(self.inputs) else self.inputs)
        fields = dict(self.fields)
        if external:
            # Of its section of the profile only its own set.
            fields["settings"] = (*fields["settings"], f"{self.name}.{external}")
        return Artifact(
            name=self.name,
            variant=variant,
            external=external,
            description=inspect.getdoc(self.body) or self.name,
            inputs=inputs,
            # Variants without rules read none of their sections.
            rules=self.rules if "rules" in inputs else (),
            body=self.body,
            gate=self.expectations,
            alarm=self.warnings,
            **fields | {"sources": (*fields["sources"], *sources)},
        )


def artifact(
    *,
    folder: Literal["data", "models"],
    group: str,
    inputs: Inputs = (),
    sources: tuple[str, ...] = (),
    rules: tuple[str, ...] = (),
    settings: tuple[str, ...] = (),
    kinds: tuple[str, ...] = ("python",),
    owners: tuple[str, ...] = ("team:safety",),
    pool: Pool | None = None,
    plot: str | None = None,
    per_variant: bool = False,
    per_set: bool = False,
) -> Callable[[Body], Declaration]:
    """Declare the decorated function as the body of an artifact of its name; see ``Artifact``.

    Args:
        inputs: keys; or, as they differ, a function of the variant (``per_variant``), else of all variants
            and the names of the external sets.
        per_variant: whether there is one artifact for each variant of the profile.
        per_set: whether there is one for each external evaluation set of the profile.
    """
    fields = {
        "folder": folder,
        "group": group,
        "sources": sources,
        "settings": settings,
        "kinds": kinds,
        "owners": owners,
        "pool": pool,
        "plot": plot,
    }

    def declare(body: Body) -> Declaration:
        return Declaration(body, per_variant, per_set, inputs, rules, fields)

    return declare


def upstream(graph: Mapping[str, Artifact], key: str) -> list[str]:
    """Keys of everything that an artifact rests on, itself left out, in the graph's order."""
    found: set[str] = set()
    pending = list(graph[key].inputs)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += graph[name].inputs
    return [name for name in graph if name in found]
