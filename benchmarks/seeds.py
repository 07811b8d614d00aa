"""The rbr variant's PPO under several seeds, from a workspace in which the graph was run.

    python benchmarks/seeds.py [--root .] [--seeds 0 1 2]

Each seed trains from the workspace's SFT model against its reward and is evaluated on the same held-out
prompts (seed 0 on the pipeline's own settings is what the graph made, and is made again here). Curves go to
MLflow, a run a seed; models and answers to .cache/seeds/. Prints each seed's figures, F1* less the base
model's with its paired 95 % interval, and mean and standard deviation. A seed that is there is not made
again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orchestration.lineage.tracking import Tracking  # noqa: E402
from rbr.evaluation.paired import compare  # noqa: E402
from rbr.evaluation.safety import as_verdict, evaluate_model  # noqa: E402
from rbr.files import iter_json_lines, write_json, write_rows  # noqa: E402
from pipeline.profile import read_settings  # noqa: E402
from rbr.steps import Context, common, ppo_checkpoint  # noqa: E402


def trained(root: Path, seed: int, folder: Path) -> None:
    """PPO of one seed into ``folder``; goes on from its checkpoints."""
    profile, settings = read_settings(root)
    settings = settings.model_copy(update={"seed": seed})
    scratch = folder.with_suffix(".unfinished")
    scratch.mkdir(parents=True, exist_ok=True)
    tracking = Tracking(root)
    parameters = {"seed": seed, **settings.rl.model_dump()}
    with tracking.step("ppo_checkpoint", "rbr", f"seeds-{seed}", profile, parameters, print) as run:
        context = Context(root, settings, "rbr", run)
        beside = folder.with_suffix(".partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        run.metrics(ppo_checkpoint.train(context, scratch, beside))
        beside.rename(folder)
    shutil.rmtree(scratch)


def evaluated(root: Path, model: Path, kept: Path) -> list[Any]:
    """Judgements on the prompts that the graph evaluates on."""
    settings = read_settings(root)[1]
    context = Context(root, settings, "rbr")
    own, prompts = settings.evaluation, common.evaluated_prompts(context)
    judge = common.load_judge(context)
    result, rows = evaluate_model(
        model, prompts, judge, own.max_new_tokens, own.batch_size, own.bootstrap,
        kept=kept, scale=settings.scale,
    )  # fmt: skip
    write_json(model / "results.json", result)
    write_rows(model / "rows.jsonl", rows)
    return [as_verdict(row) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    root = options.root.resolve()
    settings = read_settings(root)[1]
    base = [
        as_verdict(row) for _, row in iter_json_lines(root / "data" / "baseline_eval" / "base.jsonl")
    ]
    found: dict[str, list[float]] = {}
    for seed in options.seeds:
        folder = root / ".cache" / "seeds" / f"rbr-{seed}"
        if not folder.exists():
            trained(root, seed, folder)
        if (folder / "rows.jsonl").exists():
            judged = [as_verdict(row) for _, row in iter_json_lines(folder / "rows.jsonl")]
        else:
            judged = evaluated(root, folder, folder.with_suffix(".answers"))
        result = json.loads((folder / "results.json").read_text())
        figures = {name: value[0] for name, value in result["metrics"].items()}
        against = compare(judged, base, settings.evaluation.bootstrap)["f1_star"]
        print(f"seed {seed}: {json.dumps({k: round(v, 3) for k, v in figures.items()})}")
        interval = f"[{against.low:.3f}, {against.high:.3f}]"
        print(f"  F1* less base's: {against.value:.3f} {interval}, paired")
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name}: mean {statistics.mean(values):.3f}, sd {spread:.3f}")


if __name__ == "__main__":
    main()
