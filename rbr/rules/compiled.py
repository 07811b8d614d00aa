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
    """The rules' sections, and ``asked``: the section that the grader's fit depends on.

    Args:
        engine: of the grader. Heads are fitted to labels and read no wording.
    """
    sections = rules.sections()
    return {**sections, "asked": {} if engine == "head" else sections["propositions"]}


def write_compiled(folder: Path, rules: Rules, engine: str) -> None:
    """Write one file a section, and ``hashes.json``, into an existing folder."""
    for section, value in compiled(rules, engine).items():
        write_json(folder / f"{section}.json", value)
    write_json(folder / "hashes.json", {**rules.hashes(), "digest": rules.digest})


def load_compiled(folder: Path) -> Rules:
    """Read what ``write_compiled`` wrote.

    Raises:
        DataError: naming the file that is missing or not of this form.
    """
    sections: dict[str, Any] = {name: read_json(folder / f"{name}.json") for name in SECTIONS}
    try:
        return Rules(
            {
                name: Proposition(**rule, weight_sign=sections["signs"][name])
                for name, rule in sections["propositions"].items()
            },
            {name: Conjunction(**rule) for name, rule in sections["classes"]["derived"].items()},
            {
                response_type: {name: Conjunction(**rule) for name, rule in classes.items()}
                for response_type, classes in sections["classes"]["classes"].items()
            },
            sections["policy"],
            {
                response_type: RewardRule(features=names, **sections["ranking"][response_type])
                for response_type, names in sections["features"].items()
            },
            Completions(**sections["completions"]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise DataError(
            f"not compiled rules ({type(error).__name__}): make the artifact 'rules' again", folder
        ) from error
