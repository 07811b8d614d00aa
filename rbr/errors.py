"""Errors that a person can act on: each says what is wrong, where, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


@dataclass(frozen=True)
class Place:
    """A place in a file. ``line`` and ``column`` count from 1; None where they make no sense."""

    path: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        numbers = [self.line, *([self.column] if self.line is not None else [])]
        return ":".join(str(part) for part in (self.path, *numbers) if part is not None)


class RBRError(Exception):
    """Base of every error that the command line prints as one line, with exit status 1.

    Args:
        message: one line: what is wrong, what is allowed, and what to do.
        place: the file (and line) at fault, printed before the message.
    """

    def __init__(self, message: str, place: Place | Path | None = None) -> None:
        self.message = " ".join(message.split())
        self.place = Place(place) if isinstance(place, Path) else place
        super().__init__(f"{self.place}: {self.message}" if self.place else self.message)


def first_problem(error: ValidationError, whole: str = "") -> str:
    """The first problem that pydantic found, as ``key: message``, without the input.

    Args:
        whole: the name to use where no single key is at fault.
    """
    first = error.errors(include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or whole
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


class RuleError(RBRError):
    """A rule file that cannot be used as it stands."""


class DataError(RBRError):
    """A data row that breaks the format or a consistency rule."""


class GateError(RBRError):
    """A data-quality gate that did not pass; nothing after it may run."""


class ModelError(RBRError):
    """A model that cannot be fetched, read or used."""


class ServerError(RBRError):
    """A model's server that gave no usable answer, however often it was asked."""


class GraderError(RBRError):
    """A completion without a usable grade; a made-up number would train the policy on noise."""


class TrainingError(RBRError):
    """A training whose processes failed; its checkpoints are kept."""
