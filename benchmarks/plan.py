"""A plan against the run it planned: tokens and seconds of each artifact, and their ratios.

    python -m benchmarks.plan [--root .] [--since 2026-01-31T12:00] [--until 2026-01-31T13:00] [--without KEY ...]

The workspace's MLflow runs give seconds, and tokens where trainers count them; the other tokens are counted
in what the runs left in data/. The newest run of each artifact counts. `rbr plan` is computed from
deploy/plans/<profile>.yaml, which benchmarks/rates.py measured apart from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import ROOT, arguments, open_context, texts_of
from orchestration.lineage.tracking import Tracking
from orchestration.planning.inputs import Measured, read_plan_file
from orchestration.planning.report import PLANS, report, workload
from pipeline import rows
from pipeline.compiled_rules import compiled_rules
from pipeline.profile import read_profile
from rbr.comparisons.training_rows import training_rows
from rbr.files import iter_json_lines
from rbr.grading.encoder import PairTokenizer
from rbr.models.load import chat_texts, load_tokenizer

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.context import Context


def newest_runs(context: Context, since: str, until: str) -> dict[str, Run]:
    """The newest finished run of each artifact that started between two times (ISO, UTC)."""
    client = Tracking(context.root).client
    first, last = (
        int(1000 * datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp())
        for at in (since, until)
    )
    runs = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        "attributes.status = 'FINISHED'"
        f" and attributes.start_time > {first} and attributes.start_time < {last}",
        max_results=5000,
        order_by=["attributes.start_time ASC"],
    )
    newest = {run.info.run_name: run for run in runs}
    return {key: newest[key] for key in context.graph if key in newest}


class Tokens:
    """Counts the tokens that a workspace's artifacts worked on."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.tokenizer = load_tokenizer(context.path("base_model"))

    def counted(self, runs: Mapping[str, Run]) -> Iterator[tuple[str, str, float]]:
        """Artifact, kind of work, tokens: of trainings as their runs counted, of others in their rows."""
        context = self.context
        for key, run in runs.items():
            for kind in ("reward_model", "sft", "ppo"):
                tokens = run.data.metrics.get(f"{kind}/num_tokens")
                if tokens and kind == "ppo":
                    yield key, "generate", tokens
                    tokens *= 1 + context.settings.rl.epochs
                if tokens:
                    yield key, kind, tokens
        prompts = {p.id: p.conversation for p in rows.safety_prompts(context, "eval")}
        for key, artifact in context.graph.items():
            if artifact.name in ("safety_eval", "baseline_eval"):
                answers = [
                    row
                    for path in context.path(key).glob("*.jsonl")
                    for _, row in iter_json_lines(path)
                ]
                conversations = [prompts[row["prompt_id"]] for row in answers]
                completions = [row["completion"] for row in answers]
                yield key, "generate", self._count(conversations, completions)
        comparisons = [r for split in rows.SPLITS for r in rows.comparisons(context, split)]
        composed = [row for row in comparisons if row.source != "generated"]
        yield "graded_comparisons", "read", self._count(*texts_of(composed))
        yield "grader", "tune", self._tuned()

    def _count(self, conversations: Sequence[Any], completions: Sequence[str]) -> int:
        texts = [*chat_texts(self.tokenizer, conversations), *completions]
        return sum(map(len, self.tokenizer(texts, add_special_tokens=False)["input_ids"]))

    def _tuned(self) -> float:
        options = self.context.settings.grader
        training = training_rows(
            rows.gold(self.context, "train"),
            rows.safety_prompts(self.context, "train"),
            compiled_rules(self.context),
            options.composed_per_type,
            options.composed_comply,
            self.context.settings.seed,
        )
        pairs = PairTokenizer(self.tokenizer)(training.conversations, training.completions)
        seen = options.tuning.gold_epochs * (1 - options.tuning.validation_fraction)
        return sum(
            len(pair.ids) * (seen if gold else 1)
            for pair, gold in zip(pairs, training.is_gold, strict=True)
        )


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
    parser.add_argument("--until", default="2999-01-01", help="leave out runs from this time on")
    parser.add_argument("--without", nargs="*", default=[], help="artifacts that other work slowed")
    options = parser.parse_args()
    context = open_context(options.root, "rules")
    runs = newest_runs(context, options.since, options.until)
    runs = {key: run for key, run in runs.items() if key not in options.without}
    rates = context.root / PLANS / f"{read_profile(context.root)[0]}.yaml"
    works = list(workload(context.root, context.settings, read_plan_file(rates, Measured)).works())
    tokens = []
    for key, kind, counted in Tokens(context).counted(runs):
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
