"""The rules as the ``rules`` artifact holds them: one canonical file a section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rbr.errors import DataError
from rbr.files import read_json, write_json
from rbr.rules.models import Completions, Conjunction, Proposition, RewardRule
from rbr.rules.rules import Rules

SECTIONS = (
    "names",
    "propositions",
    "classes",
    "policy",
    "features",
    "ranking",
    "signs",
    "completions",
)


def compiled(rules: Rules, engine: str) -> dict[str, Any]:
    """What is written: the rules' sections, and ``asked``: what the grader's fit reads of them.

    Args:
        engine: of the grader. Heads are fitted to labels: they read no wording.
    """
    sections = rules.sections()
    return {**sections, "asked": {} if engine == "head" else sections["propositions"]}


def write_compiled(folder: Path, rules: Rules, engine: str) -> None:
    """Write one file a section, and ``hashes.json``, into an existing folder."""
    for section, value in compiled(rules, engine).items():
        write_json(folder / f"{section}.json", value)
    write_json(folder / "hashes.json", {**rules.hashes(), "digest": rules.digest})


def load_compiled(folder: Path) -> Rules:
    """Read what ``write_compiled`` wrote: the same rules as were written.

    Raises:
        DataError: naming the file that is missing or not of this form.
    """
    parts: dict[str, Any] = {name: read_json(folder / f"{name}.json") for name in SECTIONS}
    try:
        return Rules(
            {
                name: Proposition(**rule, weight_sign=parts["signs"][name])
                for name, rule in parts["propositions"].items()
            },
            {name: Conjunction(**rule) for name, rule in parts["classes"]["derived"].items()},
            {
                kind: {name: Conjunction(**rule) for name, rule in own.items()}
                for kind, own in parts["classes"]["classes"].items()
            },
            parts["policy"],
            {
                kind: RewardRule(features=names, **parts["ranking"][kind])
                for kind, names in parts["features"].items()
            },
            Completions(**parts["completions"]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise DataError(
            f"not compiled rules ({type(error).__name__}): make the artifact 'rules' again", folder
        ) from error
