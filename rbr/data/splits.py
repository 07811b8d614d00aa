"""Splits by family: what belongs together stays on one side."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from rbr.data.attacks import attack_templates, with_attacks
from rbr.data.rows import PolicyPrompt, Prompt
from rbr.data.words import normalised
from rbr.errors import DataError, Place, RuleError
from rbr.files import checked_rows, placed_rows
from rbr.options import Options
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

RowT = TypeVar("RowT")
# From which similarity on a form's name is another one's, misspelt: "homonim", not "safe_target" for "safe_context".
NEARLY = 0.8
PromptT = TypeVar("PromptT", Prompt, PolicyPrompt)


class SplitOptions(Options):
    """Split of the prompt families. Fractions are of families; ``eval`` gets the rest."""

    train_fraction: float = Field(0.6, gt=0, lt=1)
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    limit: int | None = Field(None, description="keep at most this many prompts (smoke profile)")


def shingles(text: str, size: int = 3) -> frozenset[tuple[str, ...]]:
    """Word ``size``-grams of the normalised text (the whole text where it is shorter)."""
    words = normalised(text).split()
    if len(words) <= size:
        return frozenset([tuple(words)])
    return frozenset(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def near_duplicates(
    left: Sequence[str], right: Sequence[str], threshold: float = 0.6
) -> list[tuple[int, int, float]]:
    """Pairs across two lists whose Jaccard similarity of word 3-grams is at least ``threshold``.

    Returns:
        ``(index in left, index in right, similarity)``; candidates come from an inverted index.
    """
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    right_sets = [shingles(text) for text in right]
    for j, grams in enumerate(right_sets):
        for gram in grams:
            index[gram].append(j)
    found = []
    for i, text in enumerate(left):
        grams = shingles(text)
        shared: dict[int, int] = defaultdict(int)
        for gram in grams:
            for j in index.get(gram, ()):
                shared[j] += 1
        for j, count in shared.items():
            similarity = count / (len(grams) + len(right_sets[j]) - count)
            if similarity >= threshold:
                found.append((i, j, similarity))
    return found


def split_by_family(
    rows: Iterable[RowT],
    family: Callable[[RowT], str],
    stratum: Callable[[RowT], str],
    fractions: dict[str, float],
    seed: int = 0,
) -> dict[str, list[RowT]]:
    """Split rows so that no family crosses a split, in the given fractions of each stratum's families.

    Families are ordered by a hash of their name and the seed, so that a new family moves few others
    and the order of rows does not matter.

    Args:
        fractions: of families, per split name; splits are filled in this order, the last takes the
            rest.
        stratum: of a family: that of its first row in id order.
    """
    families: dict[str, list[RowT]] = defaultdict(list)
    for row in rows:
        families[family(row)].append(row)
    strata: dict[str, list[str]] = defaultdict(list)
    for name, members in families.items():
        strata[stratum(members[0])].append(name)
    result: dict[str, list[RowT]] = {name: [] for name in fractions}
    last = list(fractions)[-1]
    for members_of in strata.values():
        ordered = sorted(
            members_of, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
        )
        start = 0.0
        for name, fraction in fractions.items():
            stop = len(ordered) if name == last else start + fraction * len(ordered)
            for chosen in ordered[round(start) : round(stop)]:
                result[name].extend(families[chosen])
            start = stop
    return result


def kept_prompts(
    rows: Sequence[PromptT], options: SplitOptions, seed: int
) -> dict[str, list[PromptT]]:
    """The splits as the artifacts hold them: no more than the limit, in order of ids."""
    splits = split_prompts(rows, options, seed)
    step = max(1, len(rows) // options.limit) if options.limit else 1
    return {
        name: sorted(members[::step], key=lambda row: row.id) for name, members in splits.items()
    }


def split_prompts(
    rows: Sequence[PromptT], options: SplitOptions, seed: int
) -> dict[str, list[PromptT]]:
    """Safety prompts by split, in these fractions of each category's families."""
    return split_by_family(
        rows,
        lambda row: row.family,
        lambda row: row.category,
        {
            "train": options.train_fraction,
            "validation": options.validation_fraction,
            "eval": 1 - options.train_fraction - options.validation_fraction,
        },
        seed,
    )


def policy_prompts(
    folder: Path, rules: Rules, options: SplitOptions, seed: int, attacked_share: float = 0.0
) -> dict[str, list[PolicyPrompt]]:
    """Read the prompts of a folder, and split them by family.

    Args:
        attacked_share: of each response type's train prompts, put in frames of the forms to train on.

    Raises:
        DataError: naming the file and line of the first prompt that does not fit the policy, or of the
            first template that cannot be used.
    """
    templates = attack_templates(folder)
    prompts: list[Prompt] = []
    for error in prompt_errors(folder, rules, prompts):
        raise error
    rows = []
    for prompt in prompts:
        name = rules.response_type(prompt.category, prompt.kind)
        given = {"response_type": name, "over_refusal": rules.over_refusal(name)}
        rows.append(PolicyPrompt(**prompt.model_dump(), **given))
    splits = kept_prompts(rows, options, seed)
    splits["train"] = with_attacks(splits["train"], templates["train"], attacked_share, seed)
    return splits


def known_prompts(folder: Path, rules: Rules) -> list[Prompt]:
    """The written prompts.

    Raises:
        DataError: naming the line of the first one that is not of the format, or whose category or kind the
            policy does not know.
    """
    rows = placed_rows(folder, Prompt)
    for place, prompt in rows:
        _type_of(place, prompt, rules)
    return [prompt for _, prompt in rows]


def _type_of(place: Place, prompt: Prompt, rules: Rules) -> str:
    try:
        return rules.response_type(prompt.category, prompt.kind)
    except RuleError as error:
        raise DataError(f"{error} (rules/content_policy.yaml)", place) from error


def prompt_errors(
    folder: Path, rules: Rules, sound: list[Prompt] | None = None
) -> Iterator[DataError]:
    """The prompts that do not fit the policy, by file and line.

    A category or kind that it does not know; an answer to a prompt that is not to be answered; none where
    recipes take the prompt's own texts; a language that no wording, or not all of the recipes', is in; a form
    that seems misspelt; a row that is not of the format.

    Args:
        sound: receives the prompts that are of the format.

    Raises:
        DataError: on a folder without rows.
    """
    languages = rules.completions.languages
    forms: dict[str, list[Place]] = defaultdict(list)
    asked: dict[tuple[str, str], Place] = {}
    for place, prompt in checked_rows(folder, Prompt):
        if isinstance(prompt, DataError):
            yield prompt
            continue
        if sound is not None:
            sound.append(prompt)
        if prompt.form:
            forms[prompt.form].append(place)
        if prompt.language and languages and prompt.language not in languages:
            text = f"language: no wording of completions.yaml is in '{prompt.language}'"
            yield DataError(f"{text}; {suggest(prompt.language, languages)}", place)
        try:
            name = _type_of(place, prompt, rules)
        except DataError as error:
            yield error
            continue
        asked.setdefault((name, prompt.language or ""), place)
        slots = _slots(rules, name)
        if prompt.answer is None and slots & {"answer", "partial"}:
            text = f"the recipes of '{name}' take answer and partial from the prompt: write both"
            yield DataError(text, place)
        elif (prompt.answer or prompt.form) and not rules.over_refusal(name):
            text = (
                f"the policy gives it '{name}', not to be answered: drop answer, partial and form"
            )
            yield DataError(text, place)
    yield from _misspelt(forms)
    yield from _untranslated(asked, rules)


def _slots(rules: Rules, response_type: str) -> set[str]:
    recipes = rules.completions.recipes.get(response_type, {}).values()
    return {slot for some in recipes for recipe in some for slot in recipe.slots}


def _untranslated(asked: dict[tuple[str, str], Place], rules: Rules) -> Iterator[DataError]:
    """The response types whose completions would be in two languages, by the first prompt of each language."""
    bank = rules.completions
    for (name, language), place in asked.items():
        slots = _slots(rules, name) | set(bank.faults.get(name, ()))
        wordings = {slot: bank.fragments[slot] for slot in slots if slot in bank.fragments}
        lacking = sorted(slot for slot, one in wordings.items() if language not in one.translations)
        if lacking and language in bank.languages and language != bank.language:
            text = (
                f"language: not all wordings of '{name}' are in '{language}': add translations of"
            )
            yield DataError(f"{text} {', '.join(lacking)} to completions.yaml", place)


def _misspelt(forms: dict[str, list[Place]]) -> Iterator[DataError]:
    """The forms of one prompt alone that are nearly that of several."""
    shared = [form for form, places in forms.items() if len(places) > 1]
    for form, places in forms.items():
        close = difflib.get_close_matches(form, shared, 1, NEARLY)
        if len(places) == 1 and close:
            text = f"form '{form}' is this prompt's alone; did you mean '{close[0]}'?"
            yield DataError(
                f"{text} If not, give it to a second one or choose another name", *places
            )
