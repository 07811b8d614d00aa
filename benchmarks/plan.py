"""A plan against the run it planned: tokens and seconds of each artifact, and their ratios.

    python -m benchmarks.plan [--root .] [--since 2026-01-31T12:00] [--without KEY ...]

The workspace's MLflow runs give seconds, and tokens where trainers count them; the other tokens are counted
in what the runs left in data/. The newest run of each artifact counts. `rbr plan` is computed from
deploy/plans/<profile>.yaml, which benchmarks/rates.py measured apart from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import ROOT, Tokens, arguments, open_context, texts_of
from orchestration.lineage.tracking import Tracking
from orchestration.planning.inputs import Measured, read_plan_file
from orchestration.planning.report import PLANS, report, workload
from pipeline import rows
from pipeline.profile import read_profile
from rbr.files import iter_json_lines

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.context import Context


def newest_runs(context: Context, since: str) -> dict[str, Run]:
    """The newest finished run of each artifact that started after a time (ISO, UTC)."""
    client = Tracking(context.root).client
    first = int(1000 * datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp())
    runs = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        f"attributes.status = 'FINISHED' and attributes.start_time > {first}",
        max_results=5000,
        order_by=["attributes.start_time ASC"],
    )
    newest = {key_of(run): run for run in runs}
    return {key: newest[key] for key in context.graph if key in newest}


def key_of(run: Run) -> str:
    """The key of the artifact that a run made."""
    step, variant = (run.data.tags.get(f"rbr.{name}", "all") for name in ("step", "variant"))
    return step if variant == "all" else f"{variant}/{step}"


def worked_on(context: Context, runs: Mapping[str, Run]) -> Iterator[tuple[str, str, float]]:
    """Artifact, kind of work, tokens: of trainings as their runs counted, of others in their rows."""
    settings, tokens = context.settings, Tokens(context.path("base_model"))
    for key, run in runs.items():
        for kind in ("reward_model", "sft", "ppo"):
            counted = run.data.metrics.get(f"{kind}/num_tokens")
            if counted and kind == "ppo":
                yield key, "generate", counted
                counted *= 1 + settings.rl.epochs
            if counted:
                yield key, kind, counted
    prompts = {p.id: p.conversation for p in rows.safety_prompts(context, "eval")}
    for key, artifact in context.graph.items():
        if artifact.name in ("safety_eval", "baseline_eval"):
            files = context.path(key).glob("*.jsonl")
            answers = [row for path in files for _, row in iter_json_lines(path)]
            conversations = [prompts[row["prompt_id"]] for row in answers]
            yield key, "generate", tokens.both(conversations, [a["completion"] for a in answers])
    comparisons = [row for split in rows.SPLITS for row in rows.comparisons(context, split)]
    composed = [row for row in comparisons if row.source != "generated"]
    yield "graded_comparisons", "read", tokens.both(*texts_of(composed))
    tuning, gold = settings.grader.tuning, rows.gold(context, "grader")
    seen = tuning.epochs * (1 - tuning.validation_fraction)
    lengths = tokens.pairs([row.conversation for row in gold], [row.completion for row in gold])
    yield "grader", "tune", seen * sum(lengths)


def show(title: str, lines: Sequence[tuple[str, float, float]]) -> None:
    """Print planned and measured amounts with their ratios, and the sums."""
    print(f"{title:48}{'planned':>12}{'measured':>12}{'ratio':>8}")
    total = ("all of these", sum(line[1] for line in lines), sum(line[2] for line in lines))
    for name, planned, measured in (*lines, total):
        print(f"{name:48}{planned:12,.0f}{measured:12,.0f}{planned / measured:8.2f}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--since", default="1970-01-01", help="leave out runs before this time")
    parser.add_argument("--without", nargs="*", default=[], help="artifacts that other work slowed")
    options = parser.parse_args()
    context = open_context(options.root, "rules")
    runs = newest_runs(context, options.since)
    runs = {key: run for key, run in runs.items() if key not in options.without}
    rates = context.root / PLANS / f"{read_profile(context.root)[0]}.yaml"
    works = list(workload(context.root, context.settings, read_plan_file(rates, Measured)).works())
    tokens = []
    for key, kind, counted in worked_on(context, runs):
        planned = sum(work.tokens for work in works if (work.artifact, work.rate) == (key, kind))
        tokens.append((f"{key:34}{kind}", planned, counted))
    show("tokens", tokens)
    planned_seconds = report(context.root, measured=rates).table["seconds"]
    show(
        "seconds",
        [
            (key, planned_seconds[key], (run.info.end_time - run.info.start_time) / 1000)
            for key, run in runs.items()
        ],
    )


if __name__ == "__main__":
    main()
