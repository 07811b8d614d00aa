"""The rbr variant's PPO under several seeds, in a workspace where the graph has run.

    python -m benchmarks.seeds [--root .] [--seeds 0 1 2] [--prompts 499]

Each seed trains from the workspace's SFT model against its reward, and is evaluated on the same held-out
prompts as that model and the base model. Curves go to MLflow, a run per seed; models and answers to
.cache/seeds/, and what is there is not made again. Prints each model's metrics, and of PPO, of PPO less SFT and
of PPO less base: each metric pooled over the seeds with its 95 % interval over prompt families, the deviation
between the seeds apart, and for differences the paired test, corrected for the tests of that list (Holm).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.common import ROOT, arguments, open_context
from orchestration.lineage.experiment import run_name
from orchestration.lineage.tracking import Tracking
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.profile import read_profile
from rbr.evaluation.clusters import holm
from rbr.evaluation.metrics import Verdict
from rbr.evaluation.safety import as_verdict
from rbr.evaluation.seeds import Pooled, pool
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


def evaluated(context: Context, name: str, model: Path) -> Path:
    """The folder of a model's results on so many prompts, made once."""
    folder = context.root / ".cache" / "seeds"
    answers = folder / f"{name}-eval-{context.settings.evaluation.prompts}"
    if not answers.exists():
        with replacing(answers) as output:
            evaluate(context, {name: model}, output)
    metrics = read_json(answers / "results.json")[name]["metrics"]
    print(f"{name}: {json.dumps({key: round(own[0], 3) for key, own in metrics.items()})}")
    return answers


def print_pooled(title: str, found: Mapping[str, Pooled]) -> None:
    """A line for each metric: value, interval, deviation between seeds, and a corrected p-value."""
    tested = {name: own.p_value for name, own in found.items() if own.p_value is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    print(title)
    for name, own in found.items():
        line = f"  {name}: {own.value:.3f} [{own.low:.3f}, {own.high:.3f}] over prompt families"
        if own.deviation is not None:
            by_seed = ", ".join(f"{value:.3f}" for value in own.by_seed)
            line += f"; between seeds sd {own.deviation:.3f} ({by_seed})"
        print(line + (f"; p {corrected[name]:.2g} (Holm)" if name in corrected else ""))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--prompts", type=int, help="the profile's own number by default")
    options = parser.parse_args()
    policy = open_context(options.root, "rbr/ppo_checkpoint")
    evaluation = open_context(options.root, "rbr/safety_eval")
    if options.prompts:
        chosen = evaluation.settings.evaluation.model_copy(update={"prompts": options.prompts})
        settings = evaluation.settings.model_copy(update={"evaluation": chosen})
        evaluation = replace(evaluation, settings=settings)
    bootstrap = policy.settings.evaluation.bootstrap
    base, sft = (
        verdicts(evaluated(evaluation, name, model) / f"{name}.jsonl")
        for name, model in (
            ("base", policy.path("base_model")),
            ("sft", policy.own("sft_checkpoint")),
        )
    )
    seeds = []
    for seed in options.seeds:
        name = f"rbr-{seed}"
        model = policy.root / ".cache" / "seeds" / name
        if not model.exists():
            train(policy, seed, model)
        seeds.append(verdicts(evaluated(evaluation, name, model) / f"{name}.jsonl"))
    print_pooled(f"PPO, {len(seeds)} seeds", pool(seeds, None, bootstrap))
    for name, other in (("SFT", sft), ("base", base)):
        print_pooled(f"PPO less {name}", pool(seeds, other, bootstrap))


if __name__ == "__main__":
    main()
