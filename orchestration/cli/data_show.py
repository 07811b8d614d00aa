"""``rbr data show``: all that is known of one prompt or gold row."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.context import Context
    from rbr.data.rows import Labelled, Prompt
    from rbr.errors import Place
    from rbr.rules.rules import Rules


def known(context: Context, rules: Rules, identity: str) -> dict[str, Any]:
    """What the written data and the artifacts hold of a prompt or gold row.

    Raises:
        RBRError: if no row has that id, with the closest one.
    """
    from rbr.data.rows import Labelled, Prompt
    from rbr.files import placed_rows

    seen: list[str] = []
    rows: list[tuple[Place, Prompt | Labelled]] = [
        *placed_rows(context.source / "safety_prompts", Prompt),
        *placed_rows(context.source / "gold", Labelled),
    ]
    for place, row in rows:
        seen.append(row.id)
        if row.id == identity:
            conversation = [turn.model_dump() for turn in row.conversation]
            found = {"id": identity, "file": str(place), "conversation": conversation}
            if isinstance(row, Prompt):
                return found | _prompt(context, rules, row)
            return found | _gold(context, rules, row)
    close = difflib.get_close_matches(identity, seen, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {len(seen)}, such as {seen[0]}"
    raise RBRError(f"no prompt or gold row '{identity}'; {hint}", context.source)


def _split_of(identity: str, splits: dict[str, Any]) -> str | None:
    return next((n for n, rows in splits.items() if identity in {row.id for row in rows}), None)


def _prompt(context: Context, rules: Rules, row: Prompt) -> dict[str, Any]:
    from rbr.data.splits import policy_prompts

    settings = context.settings
    splits = policy_prompts(
        context.source / "safety_prompts", rules, settings.prompts, settings.seed
    )
    return {
        "kind": f"{row.category}/{row.kind}",
        "response_type": rules.response_type(row.category, row.kind),
        "family": row.family,
        "split": _split_of(row.id, splits),
        "comparisons": list(_comparisons(context, row.id)),
        "answers": list(_answers(context, row.id)),
    }


def _gold(context: Context, rules: Rules, row: Labelled) -> dict[str, Any]:
    from rbr.data.gold import gold_rows

    settings = context.settings
    splits = gold_rows(context.source / "gold", settings.gold, settings.seed)
    return {
        "response_type": row.response_type,
        "split": _split_of(row.id, splits),
        "completion": row.completion,
        "labels": list(row.true),
        "grades": _grades(context, rules, row),
    }


def _grades(context: Context, rules: Rules, row: Labelled) -> dict[str, float]:
    """The grades that the grade store has of a gold row, by the grader of the reward."""
    from rbr.files import read_json
    from rbr.grading.store import GradeStore, grade_keys, judged_text

    judged_by = context.path("graded_comparisons") / "judged_by.json"
    path = context.root / ".cache" / "grades.sqlite"
    if not judged_by.is_file() or not path.exists():
        return {}
    graders, texts = read_json(judged_by), rules.grading_texts()
    names = [name for name in rules.proposition_names if name in graders]
    by = [judged_text(texts[name], str(graders[name]["grader"])) for name in names]
    keys = grade_keys(by, row.conversation, row.completion)
    store = GradeStore(path)
    try:
        found = store.get(keys)
    finally:
        store.close()
    return {name: found[key] for name, key in zip(names, keys, strict=True) if key in found}


def _comparisons(context: Context, identity: str) -> Iterator[dict[str, Any]]:
    """The prompt's synthetic completions, as graded."""
    for path in sorted(context.path("synthetic_comparisons").glob("*.jsonl")):
        for row in _rows(path, identity):
            keys = ("label", "source", "completion", "graded", "label_probability", "confirmed")
            yield {key: row.get(key) for key in keys}


def _answers(context: Context, identity: str) -> Iterator[dict[str, Any]]:
    """What each evaluated model answered, as judged."""
    evaluated = {
        key: of
        for name in ("baseline_eval", "safety_eval")
        for key, of in context.graph.items()
        if of.name == name
    }
    for key, artifact in evaluated.items():
        for path in sorted(context.path(key).glob("*.jsonl")):
            title = f"{artifact.variant.title} " if artifact.variant else ""
            model = f"{title}{path.stem}"
            for row in _rows(path, identity):
                names = ("completion", "completion_class", "refused", "disallowed", "propositions")
                yield {"model": model} | {name: row.get(name) for name in names}


def _rows(path: Path, identity: str) -> Iterator[dict[str, Any]]:
    from rbr.files import iter_json_lines

    return (row for _, row in iter_json_lines(path) if row.get("prompt_id") == identity)


def show(found: dict[str, Any]) -> None:
    """Print what is known of a row."""
    from rich.markup import escape

    say = common.console.print
    say(f"[bold]{escape(found['id'])}[/]  {escape(found['file'])}", soft_wrap=True)
    for key in ("kind", "response_type", "family"):
        if key in found:
            say(f"{key.replace('_', ' ')}: {escape(found[key])}")
    say(f"split: {found['split'] or 'none: beyond the profile' + chr(39) + 's limit'}")
    for turn in found["conversation"]:
        say(f"[bold]{turn['role']}[/]: {escape(turn['content'])}")
    if "labels" in found:
        say(f"[bold]answer[/]: {escape(found['completion'])}")
        labels, grades = set(found["labels"]), found["grades"]
        rows = [
            [
                name,
                "true" if name in labels else "",
                f"{grades[name]:.3f}" if name in grades else "-",
            ]
            for name in sorted({*labels, *grades})
        ]
        common.print_table(["proposition", "label", "grade"], rows)
        return
    for title, key, about in (
        (
            "comparison",
            "comparisons",
            lambda r: f"{r['label']} ({r['source']}), graded: {_list(r['graded'])}",
        ),
        (
            "answer",
            "answers",
            lambda r: f"{r['model']}: {r['completion_class']}; {_list(r['propositions'])}",
        ),
    ):
        if not found[key]:
            say(f"no {title} yet: `make demo` makes them")
        for row in found[key]:
            say(f"[bold]{escape(about(row))}[/]\n  {escape(row['completion'])}")


def _list(names: list[str] | None) -> str:
    return ", ".join(names or ()) or "nothing"
