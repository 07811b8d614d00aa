"""A plan against the run it planned: tokens and seconds of each step, and their ratios.

    python benchmarks/plan.py [--root .] [--since 2026-01-31T12:00] [--until 2026-01-31T13:00] [--without STEP ...]

The workspace's MLflow runs give seconds, and tokens where trainers count them; the other tokens are counted
in what the runs left in data/. Of each step the newest run counts. `rbr plan` is computed from
deploy/plans/<profile>.yaml, which benchmarks/rates.py measured apart from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mlflow.entities import Run  # noqa: E402

from mlflow import MlflowClient  # noqa: E402
from orchestration.lineage.tracking import Tracking  # noqa: E402
from rbr.grading.encoder import PairTokenizer  # noqa: E402
from rbr.comparisons.training_rows import training_rows  # noqa: E402
from rbr.models.load import chat_texts, load_tokenizer  # noqa: E402
from orchestration.planning.amounts import amounts  # noqa: E402
from orchestration.planning.measured import read_measured  # noqa: E402
from orchestration.planning.report import PLANS, report, stages  # noqa: E402
from orchestration.planning.work import Count  # noqa: E402
from orchestration.planning.workspace import shapes  # noqa: E402
from pipeline.profile import VARIANTS, read_settings  # noqa: E402
from rbr.steps import Context, common  # noqa: E402


def newest(client: MlflowClient, since: float, until: float) -> dict[str, Run]:
    """Of each step, by the name that DVC gives it, the newest run that computed it."""
    found: dict[str, Run] = {}
    experiments = [e.experiment_id for e in client.search_experiments()]
    for run in client.search_runs(
        experiments,
        f"attributes.status = 'FINISHED' and attributes.start_time > {int(1000 * since)}"
        f" and attributes.start_time < {int(1000 * until)}",
        max_results=5000,
        order_by=["attributes.start_time DESC"],
    ):
        name, _, variant = run.info.run_name.partition(" ")
        found.setdefault(f"{name}@{variant}" if variant else name, run)
    return {stage: found[stage] for stage in stages() if stage in found}


class Tokens:
    """Tokens that a run's steps worked on."""

    def __init__(self, context: Context, steps: dict[str, Run]) -> None:
        self.context = context
        self.steps = steps
        self.tokenizer = load_tokenizer(context.path("base_model"))

    def _texts(self, conversations: list[Any], answers: list[str]) -> float:
        prompts = chat_texts(self.tokenizer, conversations)
        both = [*prompts, *answers]
        return float(
            sum(len(i) for i in self.tokenizer(both, add_special_tokens=False)["input_ids"])
        )

    def found(self) -> Iterator[tuple[str, str, float]]:
        """Step, kind of work, tokens."""
        epochs = self.context.settings.rl.epochs
        for step, run in self.steps.items():
            counted = run.data.metrics
            if "reward_model/num_tokens" in counted:
                yield step, "reward_model", counted["reward_model/num_tokens"]
            elif "sft/num_tokens" in counted:
                yield step, "sft", counted["sft/num_tokens"]
            elif "ppo/num_tokens" in counted:
                yield step, "generate", counted["ppo/num_tokens"]
                yield step, "ppo", (1 + epochs) * counted["ppo/num_tokens"]
        for variant in VARIANTS:
            yield f"safety_eval@{variant}", "generate", self._answers("safety_eval", variant)
        yield "baseline_eval", "generate", self._answers("baseline_eval", None)
        rows = [row for split in common.SPLITS for row in common.comparisons(self.context, split)]
        made = [row for row in rows if row.source != "generated"]
        tokens = self._texts([r.conversation for r in made], [r.completion for r in made])
        yield "graded_comparisons", "read", tokens
        yield "grader", "tune", self._tuned()

    def _answers(self, artifact: str, variant: str | None) -> float:
        prompts = {p.id: p.conversation for p in common.prompts(self.context, "eval")}
        conversations, answers = [], []
        for path in sorted(self.context.path(artifact, variant).glob("*.jsonl")):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                conversations.append(prompts[row["prompt_id"]])
                answers.append(row["completion"])
        return self._texts(conversations, answers)

    def _tuned(self) -> float:
        own, options = self.context.settings.grader, self.context.settings.grader.tuning
        rows = training_rows(
            common.gold(self.context, "train"),
            common.prompts(self.context, "train"),
            self.context.rules,
            own.composed_per_type,
            own.composed_comply,
            self.context.settings.seed,
        )
        pairs = PairTokenizer(self.tokenizer)(rows.conversations, rows.completions)
        kept = 1 - options.validation_fraction
        return sum(
            len(pair.ids) * (options.gold_epochs * kept if gold else 1)
            for pair, gold in zip(pairs, rows.is_gold, strict=True)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--since", default="1970-01-01", help="leave out runs before this time")
    parser.add_argument("--until", default="9999-01-01", help="leave out runs from this time on")
    parser.add_argument("--without", nargs="*", default=[], help="steps that other work slowed")
    options = parser.parse_args()
    root = options.root.resolve()
    profile, settings = read_settings(root)
    context = Context(root, settings)
    since, until = (
        datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()
        for time in (options.since, options.until)
    )
    steps = newest(Tracking(root).client, since, until)
    steps = {stage: run for stage, run in steps.items() if stage not in options.without}
    measured = ROOT / PLANS / f"{profile}.yaml"
    rates = read_measured(measured)
    parts = Count(
        settings, amounts(context), rates.lengths, shapes(context), rates.attempts
    ).steps()
    print(f"{'step':34}{'work':14}{'planned':>12}{'measured':>12}{'ratio':>8}   tokens")
    both = [0.0, 0.0]
    for step, kind, tokens in Tokens(context, steps).found():
        planned = sum(p.tokens for p in parts if p.step == step and p.kind == kind)
        both = [both[0] + planned, both[1] + tokens]
        print(f"{step:34}{kind:14}{planned:12,.0f}{tokens:12,.0f}{planned / tokens:8.2f}")
    print(f"{'all of these':48}{both[0]:12,.0f}{both[1]:12,.0f}{both[0] / both[1]:8.2f}\n")
    print(f"{'step':34}{'':14}{'planned':>12}{'measured':>12}{'ratio':>8}   seconds")
    both = [0.0, 0.0]
    for line in report(root, measured=measured).lines:
        if line.step not in steps:
            continue
        info = steps[line.step].info
        took = (info.end_time - info.start_time) / 1000
        both = [both[0] + line.seconds, both[1] + took]
        print(f"{line.step:48}{line.seconds:12,.0f}{took:12,.0f}{line.seconds / took:8.2f}")
    print(f"{'all of these':48}{both[0]:12,.0f}{both[1]:12,.0f}{both[0] / both[1]:8.2f}")


if __name__ == "__main__":
    main()
