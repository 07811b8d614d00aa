"""A plan against the run it planned: tokens and seconds of each step, and their ratios.

    python benchmarks/plan.py [--root .] [--run ID]

The workspace's run (an MLflow parent run; by default the newest that made every step) gives seconds, and
tokens where trainers count them; the other tokens are counted in what the run left in data/. `rbr plan` is
computed from deploy/plans/<profile>.yaml, which benchmarks/rates.py measured apart from that run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mlflow.entities import Run  # noqa: E402

from mlflow import MlflowClient  # noqa: E402
from orchestration.lineage.tracking import Tracking  # noqa: E402
from rbr.grading.encoder import PairTokenizer  # noqa: E402
from rbr.grading.fit import training_rows  # noqa: E402
from rbr.models.load import chat_texts, load_tokenizer  # noqa: E402
from rbr.plan.amounts import amounts  # noqa: E402
from rbr.plan.measured import read_measured  # noqa: E402
from rbr.plan.report import PLANS, report, stages  # noqa: E402
from rbr.plan.work import Count  # noqa: E402
from rbr.plan.workspace import shapes  # noqa: E402
from rbr.settings import VARIANTS, read_settings  # noqa: E402
from rbr.steps import Context, common  # noqa: E402


def children(client: MlflowClient, run: Run) -> dict[str, Run]:
    """Steps of a graph run, by the names that DVC gives them."""
    found = {}
    for child in client.search_runs(
        [run.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{run.info.run_id}' and attributes.status = 'FINISHED'",
        max_results=1000,
    ):
        name, _, variant = child.info.run_name.partition(" ")
        found[f"{name}@{variant}" if variant else name] = child
    return found


def newest(client: MlflowClient, wanted: str | None) -> dict[str, Run]:
    """Steps of the run that is compared with."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = [client.get_run(wanted)] if wanted else client.search_runs(experiments, max_results=500)
    for run in runs:
        if "mlflow.parentRunId" not in run.data.tags:
            found = children(client, run)
            if wanted or set(stages()) <= set(found):
                return found
    raise SystemExit("no MLflow run here made every step: run `make demo` in a fresh workspace")


class Tokens:
    """Tokens that a run's steps worked on."""

    def __init__(self, context: Context, steps: dict[str, Run]) -> None:
        self.context = context
        self.steps = steps
        self.tokenizer = load_tokenizer(context.path("base_model"))

    def _texts(self, talks: list[Any], answers: list[str]) -> float:
        prompts = chat_texts(self.tokenizer, talks)
        both = [*prompts, *answers]
        return float(
            sum(len(i) for i in self.tokenizer(both, add_special_tokens=False)["input_ids"])
        )

    def found(self) -> Iterator[tuple[str, str, float]]:
        """Step, kind of work, tokens."""
        for step in ("helpful_reward_model", "human_reward_model"):
            yield step, "reward_model", self.steps[step].data.metrics["reward_model/num_tokens"]
        epochs = self.context.settings.rl.epochs
        for variant in VARIANTS:
            step = f"sft_checkpoint@{variant}"
            yield step, "sft", self.steps[step].data.metrics["sft/num_tokens"]
            step = f"ppo_checkpoint@{variant}"
            tokens = self.steps[step].data.metrics["ppo/num_tokens"]
            yield step, "generate", tokens
            yield step, "ppo", (1 + epochs) * tokens
            yield f"safety_eval@{variant}", "generate", self._answers("safety_eval", variant)
        yield "baseline_eval", "generate", self._answers("baseline_eval", None)
        rows = [row for split in common.SPLITS for row in common.comparisons(self.context, split)]
        made = [row for row in rows if row.source != "generated"]
        tokens = self._texts([r.conversation for r in made], [r.completion for r in made])
        yield "graded_comparisons", "read", tokens
        yield "grader", "tune", self._tuned()

    def _answers(self, artifact: str, variant: str | None) -> float:
        prompts = {p.id: p.conversation for p in common.prompts(self.context, "eval")}
        talks, answers = [], []
        for path in sorted(self.context.path(artifact, variant).glob("*.jsonl")):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                talks.append(prompts[row["prompt_id"]])
                answers.append(row["completion"])
        return self._texts(talks, answers)

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
    parser.add_argument("--run", help="an MLflow parent run")
    options = parser.parse_args()
    root = options.root.resolve()
    profile, settings = read_settings(root)
    context = Context(root, settings)
    steps = newest(Tracking(root).client, options.run)
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
        info = steps[line.step].info
        took = (info.end_time - info.start_time) / 1000
        both = [both[0] + line.seconds, both[1] + took]
        print(f"{line.step:48}{line.seconds:12,.0f}{took:12,.0f}{line.seconds / took:8.2f}")
    print(f"{'all':48}{both[0]:12,.0f}{both[1]:12,.0f}{both[0] / both[1]:8.2f}")


if __name__ == "__main__":
    main()
