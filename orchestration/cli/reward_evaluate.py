"""``rbr reward evaluate``: a reward judged by itself, on preference sets."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import common
from orchestration.cli.explain import NONE, written_prompts
from rbr.errors import DataError, Place

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.reward import VariantReward
    from rbr.data.rows import Ranked
    from rbr.rules.rules import Rules


def evaluate(
    pairs: Annotated[
        str,
        typer.Option(
            help="A .jsonl or .csv file, or a hub name: preferences of this project, HH-RLHF,"
            " PKU-SafeRLHF or RewardBench 2."
        ),
    ],
    source_format: Annotated[
        str | None,
        typer.Option("--format", help="Of the file; by default what its first row is of."),
    ] = None,
    response_type: Annotated[
        str | None,
        typer.Option(
            help="What the policy asks for on prompts whose row does not say, or none; by default that of"
            " the project's own prompts, and none of others."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where rewards are kept; a stopped run continues there.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many prompts.", min=1)] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave out rows that cannot be read.")] = False,
    split: Annotated[str, typer.Option(help="Split of a hub's data set.")] = "test",
    as_json: common.JsonOption = False,
    root: common.RootOption = None,
) -> None:
    """How often R_rm and R_tot put the right answer first, by subset, with 95 % intervals."""
    from rbr.evaluation.reward_accuracy import accuracies, credits_of, rewards_of
    from rbr.files import digest_of

    context = common.open_context(root)
    if out is not None:
        common.make_folder(out, "--out")
    rules = common.compiled_rules(context)
    name, rows, left_out = chosen_rows(pairs, source_format, split, limit, skip_bad)
    typed, known_by = with_types(context, rules, rows, response_type)
    parts = common.reward_of(context)
    key = digest_of(reward_identity(parts), typed)
    kept = (out or context.root / ".cache" / "reward_evaluations") / key / "rewards.jsonl"
    with common.progress_bar("rewards of answers", hidden=as_json) as progress:
        rewards = rewards_of(typed, parts.rule_based, kept, progress)
    report: dict[str, Any] = {
        "pairs": pairs,
        "format": name,
        "rows": len(typed),
        "left_out": left_out,
        "response_types": dict(known_by),
        "groups": accuracies(credits_of(typed, rewards), context.settings.evaluation.bootstrap),
        "kept": str(kept),
    }
    if as_json:
        common.print_json(report)
    else:
        _show(report)


def chosen_rows(
    pairs: str, source_format: str | None, split: str, limit: int | None, skip_bad: bool
) -> tuple[str, list[tuple[Place, Ranked]], int]:
    """The format, the rows to judge by, and how many were left out; each of these is told.

    Raises:
        DataError: naming the first bad row unless such are left out; or if no row is left.
    """
    from rbr.data.ranked import read_ranked

    found = read_ranked(pairs, source_format, split)
    for error in found.errors if skip_bad else ():
        print(f"left out: {error}", file=sys.stderr)
    if found.errors and not skip_bad:
        first = min(found.errors, key=lambda error: getattr(error.place, "line", None) or 0)
        more = f" ({len(found.errors)} bad rows; --skip-bad leaves them out)"
        raise DataError(first.message + more, first.place)
    # Ties come in two rows, which a limit must not part.
    halves = {row.family: (place, row) for place, row in found.rows if row.tie == "reference"}
    rows: list[tuple[Place, Ranked]] = []
    for place, row in found.rows:
        if limit is not None and len(rows) >= limit:
            break
        if row.tie != "reference":
            rows += [halves[row.family], (place, row)] if row.tie else [(place, row)]
    if not rows:
        raise DataError("no rows in it: give a file with preference pairs", Path(pairs))
    return found.source_format, rows, len(found.errors)


def with_types(
    context: Context, rules: Rules, rows: Sequence[tuple[Place, Ranked]], option: str | None
) -> tuple[list[Ranked], Counter[str]]:
    """The rows with their response types, and how many have theirs from where.

    A row's own counts, then the option, then that of the project's prompt with the same words.

    Raises:
        RBRError: on a response type that the rules do not have; of a row with its line.
    """
    from rbr.data.words import normalised

    if option != NONE:
        common.check_response_type(rules, option)
    written = {} if option else written_prompts(context)
    typed, known_by = [], Counter[str]()
    for place, row in rows:
        given, source = row.response_type, "row"
        if given is not None and given not in (*rules.response_types, NONE):
            allowed = ", ".join((*rules.response_types, NONE))
            raise DataError(f"response_type '{given}' is not one of {allowed}", place)
        if given is None:
            given, source = option, "option"
        prompt = written.get(normalised(row.conversation[0].content))
        if given is None and prompt is not None and len(row.conversation) == 1:
            given, source = rules.response_type(prompt.category, prompt.kind), "project's prompt"
        known_by[source if given not in (None, NONE) else "outside the policy"] += 1
        response_type = None if given == NONE else given
        typed.append(row.model_copy(update={"response_type": response_type}))
    return typed, known_by


def reward_identity(parts: VariantReward) -> list[Any]:
    """What the rewards depend on besides the answers: R_rm, the weights and the grader."""
    grader = parts.rule_based.grader
    graders = [grader.identity(name) for name in grader.propositions]
    return [sorted(parts.digests().items()), sorted(set(graders)), parts.noise, parts.seed]


def _show(report: Mapping[str, Any]) -> None:
    from rich.markup import escape

    by = ", ".join(f"{count} {source}" for source, count in report["response_types"].items())
    left = f", {report['left_out']} left out" if report["left_out"] else ""
    print(
        f"{report['rows']} rows of {report['pairs']} ({report['format']}){left}; response type: {by}"
    )
    rows = []
    for name, group in report["groups"].items():
        parts = [
            _cell(group["reward_model"]),
            _cell(group["total"]),
            _cell(group["difference"], "+"),
        ]
        counts = [group["prompts"], group["families"], _percent(group["chance"])]
        rows.append([escape(name), *counts, *parts, f"{group['p_holm']:.2g}"])
    common.print_table(
        ["", "prompts", "families", "chance", "R_rm", "R_tot", "R_tot less R_rm", "p"], rows
    )
    notes = (
        "percent of prompts whose right answer has the highest reward [95 % interval over families]; p: paired,"
        " corrected over the subsets and over the response types (Holm)"
    )
    print(notes)
    if "outside the policy" in report["response_types"]:
        print("outside the policy R_tot is R_rm; --response-type says what the policy asks for")
    print(f"rewards: {report['kept']}")


def _percent(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{100 * value:{sign}.1f}"


def _cell(found: Sequence[float], sign: str = "") -> str:
    value, low, high = (_percent(part, sign) for part in found)
    return f"{value} \\[{low}, {high}]"
