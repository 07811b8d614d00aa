"""The rules as the ``rules`` artifact holds them: one canonical file a section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rbr.errors import DataError
from rbr.files import read_json, write_json
from rbr.rules.models import (
    Completions,
    Conjunction,
    Proposition,
    Relations,
    ResponseType,
    RewardRule,
    Roles,
)
from rbr.rules.rules import Rules

SECTIONS = (
    "names",
    "response_types",
    "roles",
    "propositions",
    "classes",
    "policy",
    "features",
    "ranking",
    "signs",
    "completions",
)


def compiled(rules: Rules, engine: str, judge: str = "head", chat: bool = False) -> dict[str, Any]:
    """The rules' sections, and those that artifacts depend on by the profile.

    ``asked`` and ``judged`` are what the grader's and the judge's fits depend on, ``told`` what a model is
    told that writes comparisons.

    Args:
        engine, judge: of the grader and of the judge. Heads are fitted to labels and read no wording.
        chat: whether a chat model writes comparisons: it is told what the propositions mean.
    """
    sections = rules.sections()
    read = {"asked": engine, "judged": judge}
    told = {
        name: {"features": rule.features, "ordering": rule.ordering}
        for name, rule in rules.reward.items()
        if chat or name not in rules.completions.recipes
    }
    if chat:
        told["propositions"] = sections["propositions"]
    fitted = {name: {} if of == "head" else sections["propositions"] for name, of in read.items()}
    return {**sections, **fitted, "told": told}


def write_compiled(
    folder: Path, rules: Rules, engine: str, judge: str = "head", chat: bool = False
) -> None:
    """Write one file a section, and ``hashes.json``, into an existing folder."""
    for section, value in compiled(rules, engine, judge, chat).items():
        write_json(folder / f"{section}.json", value)
    write_json(folder / "hashes.json", {**rules.hashes(), "digest": rules.digest})


def load_compiled(folder: Path) -> Rules:
    """Read what ``write_compiled`` wrote.

    Raises:
        DataError: naming the file that is missing or not of this form.
    """
    sections: dict[str, Any] = {name: read_json(folder / f"{name}.json") for name in SECTIONS}
    try:
        types = {rule.pop("name"): rule for rule in sections["response_types"]}
        order = {name: rule.pop("classes") for name, rule in types.items()}
        labels = {name: dict(rule.pop("labels")) for name, rule in types.items()}
        classes = sections["classes"]["classes"]
        return Rules(
            types={name: ResponseType(**rule) for name, rule in types.items()},
            roles=Roles(**sections["roles"]["roles"]),
            relations=Relations(**sections["roles"]["relations"]),
            propositions={
                name: Proposition(**rule, weight_sign=sections["signs"][name])
                for name, rule in sections["propositions"].items()
            },
            derived={
                name: Conjunction(**rule) for name, rule in sections["classes"]["derived"].items()
            },
            classes={
                name: {n: Conjunction(**classes[name][n]) for n in names}
                for name, names in order.items()
            },
            policy=sections["policy"],
            reward={
                name: RewardRule(
                    features=sections["features"][name],
                    labels=labels[name],
                    **sections["ranking"][name],
                )
                for name in types
            },
            completions=Completions(**sections["completions"]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise DataError(
            f"not compiled rules ({type(error).__name__}): make the artifact 'rules' again", folder
        ) from error
