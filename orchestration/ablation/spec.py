"""An ablation as data: arms, each a set of changed settings, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from assets import declarations
from pipeline.profile import Settings, read_profile, read_yaml, validated
from pipeline.variants import MAIN, VARIANTS
from rbr.errors import RBRError, first_problem
from rbr.options import Options


class Point(Options):
    """A point of the paper's plot, as shares; None where the plot does not show a metric."""

    not_unsafe: float | None = Field(None, ge=0, le=1)
    not_overrefuse: float | None = Field(None, ge=0, le=1)
    ideal_refusal: float | None = Field(None, ge=0, le=1)

    @property
    def f1_star(self) -> float | None:
        """Harmonic mean of the first two, where both are there."""
        a, b = self.not_unsafe, self.not_overrefuse
        return 2 * a * b / (a + b) if a and b else None


class Paper(Options):
    """The paper's own ablation, read off its plots by eye (+-0.01)."""

    axis: str
    expected: str
    points: dict[str, Point]


class Measure(Options):
    """An artifact's metric that says how far an arm's change went (the grader's accuracy)."""

    artifact: str
    metric: str
    title: str


class Arm(Options):
    """One setting of what is varied.

    Attributes:
        settings: changed values, nested as a profile is.
        model: which of the variant's models is looked at.
        paper: the point of the paper's plot that it stands beside.
    """

    settings: Mapping[str, Any] = Field(default_factory=dict)
    variant: str = MAIN.name
    model: Literal["sft", "ppo"] = "ppo"
    paper: str | None = None


class Ablation(Options):
    """A question, and the arms that answer it; ``reference`` is the arm the others are compared with."""

    name: str
    title: str
    question: str
    reference: str
    arms: dict[str, Arm] = Field(min_length=2)
    measure: Measure | None = None
    paper: Paper | None = None

    @model_validator(mode="after")
    def _names_resolve(self) -> Ablation:
        artifacts = {declaration.name for declaration in declarations()}
        if self.reference not in self.arms:
            raise ValueError(f"reference '{self.reference}' is none of the arms")
        if self.measure and self.measure.artifact not in artifacts:
            raise ValueError(f"measure: there is no artifact '{self.measure.artifact}'")
        points = self.paper.points if self.paper else {}
        for name, arm in self.arms.items():
            if arm.variant not in VARIANTS:
                raise ValueError(f"arm '{name}': variant must be one of {', '.join(VARIANTS)}")
            if arm.paper is not None and arm.paper not in points:
                raise ValueError(f"arm '{name}': the paper has no point '{arm.paper}'")
            merged(Settings().model_dump(), arm.settings)
        return self


def merged(
    settings: dict[str, Any], changes: Mapping[str, Any], inside: str = ""
) -> dict[str, Any]:
    """Nested settings with some values changed.

    Raises:
        ValueError: naming a changed key that there is not.
    """
    result = dict(settings)
    for key, value in changes.items():
        if key not in settings:
            raise ValueError(f"there is no setting '{inside}{key}'")
        is_section = isinstance(settings[key], dict) and isinstance(value, dict)
        result[key] = merged(settings[key], value, f"{inside}{key}.") if is_section else value
    return result


def read_ablations(root: Path) -> dict[str, Ablation]:
    """All of ``ablations/*.yaml``, by the files' names.

    Raises:
        RBRError: naming the file and the key at fault.
    """
    found = {}
    for path in sorted((root / "ablations").glob("*.yaml")):
        if not path.stem.isidentifier():
            raise RBRError("name the file with letters, digits and _: its job is named so", path)
        written = {**read_yaml(path), "name": path.stem}
        found[path.stem] = validated(Ablation, written, path)
    return found


def read_ablation(root: Path, name: str) -> Ablation:
    """One of ``ablations/*.yaml``.

    Raises:
        RBRError: if there is none of that name, or for what ``read_ablations`` raises.
    """
    found = read_ablations(root)
    if name not in found:
        raise RBRError(f"no ablation '{name}'; there are: {', '.join(found)}", root / "ablations")
    return found[name]


def changed_profile(root: Path, ablation: Ablation, arm: str) -> tuple[str, dict[str, Any]]:
    """The profile in use with the arm's changes: its name, and its sections as they are written.

    Values that the arm leaves alone stay as the file has them, so that DVC sees no change in them.

    Raises:
        RBRError: if a changed value is not allowed.
    """
    name, written = read_profile(root)
    try:
        changed = merged(written, ablation.arms[arm].settings)
        Settings.model_validate(changed)
    except ValidationError as error:
        place = root / "ablations" / f"{ablation.name}.yaml"
        raise RBRError(f"arm '{arm}': {first_problem(error)}", place) from error
    except ValueError as error:
        place = root / "profiles" / f"{name}.yaml"
        raise RBRError(f"{error}, which '{ablation.name}' changes: write it out", place) from error
    return name, changed
