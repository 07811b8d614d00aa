"""The rbr variant's PPO under several seeds, in a workspace where the graph has run.

    python -m benchmarks.seeds [--root .] [--seeds 0 1 2]

Each seed trains from the workspace's SFT model against its reward and is evaluated on the same held-out
prompts. Curves go to MLflow, a run per seed; models and answers to .cache/seeds/, and a seed that is there
is not made again. Prints each seed's metrics, F1* less the base model's with its paired 95 % interval, and
mean and standard deviation over the seeds.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path

from benchmarks.common import ROOT, arguments, open_context
from orchestration.lineage.experiment import run_name
from orchestration.lineage.tracking import Tracking
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.profile import read_profile
from rbr.evaluation.metrics import Verdict
from rbr.evaluation.paired import compare
from rbr.evaluation.safety import as_verdict
from rbr.files import iter_json_lines, read_json, replacing


def train(context: Context, seed: int, target: Path) -> None:
    """PPO of one seed into ``target``; a stopped one resumes from its checkpoints."""
    settings = context.settings.model_copy(update={"seed": seed})
    parameters = {"seed": seed, **settings.rl.model_dump()}
    tracking, profile = Tracking(context.root), read_profile(context.root)[0]
    name = run_name(context.artifact, settings, compiled_rules(context))
    with (
        tracking.step(context.artifact, name, f"seeds-{seed}", profile, parameters, print) as run,
        replacing(target) as output,
    ):
        run.metrics(context.artifact.body(replace(context, settings=settings, run=run), output))


def verdicts(path: Path) -> list[Verdict]:
    return [as_verdict(row) for _, row in iter_json_lines(path)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    policy = open_context(options.root, "rbr/ppo_checkpoint")
    evaluation = open_context(options.root, "rbr/safety_eval")
    base = verdicts(policy.path("baseline_eval") / "base.jsonl")
    values: dict[str, list[float]] = {}
    for seed in options.seeds:
        model = policy.root / ".cache" / "seeds" / f"rbr-{seed}"
        answers = model.with_name(f"{model.name}-eval")
        if not model.exists():
            train(policy, seed, model)
        if not answers.exists():
            with replacing(answers) as output:
                evaluate(evaluation, {"ppo": model}, output)
        metrics = read_json(answers / "results.json")["ppo"]["metrics"]
        for name, (value, _, _) in metrics.items():
            values.setdefault(name, []).append(value)
        rounded = {name: round(own[-1], 3) for name, own in values.items()}
        bootstrap = policy.settings.evaluation.bootstrap
        gain = compare(verdicts(answers / "ppo.jsonl"), base, bootstrap)["f1_star"]
        print(f"seed {seed}: {json.dumps(rounded)}")
        print(f"  F1* less base's: {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}], paired")
    for name, own in values.items():
        deviation = statistics.stdev(own) if len(own) > 1 else 0.0
        print(f"{name}: mean {statistics.mean(own):.3f}, sd {deviation:.3f}")


if __name__ == "__main__":
    main()
