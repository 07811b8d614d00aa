"""What limits ideal refusals: the grader, exploration, or the budget? From a workspace in which the graph was run.

    python benchmarks/limits.py [--root .] [--model SFT=models/sft_checkpoint/rbr ...] [--samples 4]

Each model answers the *validation* prompts to refuse greedily and ``samples`` times at PPO's temperature; the
reward scores and the judge judges all. Per response type it prints, in percent:

- greedy, sampled: ideal refusals;
- exploration: prompts with an ideal sample at all, and prompts whose samples differ in it, from which alone
  PPO can learn it (scores are centred within a prompt);
- grader: of a prompt's pairs of an ideal and another sample, those in which the reward prefers the ideal one;
- the others: classes of the samples that are not ideal.

Answers are kept in .cache/limits/, and gone on from.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rbr.data.rows import PolicyPrompt  # noqa: E402
from rbr.models.generate import generate  # noqa: E402
from pipeline.profile import read_settings  # noqa: E402
from rbr.steps import Context, common  # noqa: E402
from rbr.models.trainer import file_digest  # noqa: E402

SEED = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="NAME=FOLDER",
        default=["SFT=models/sft_checkpoint/rbr", "PPO=models/ppo_checkpoint/rbr"],
    )
    parser.add_argument("--samples", type=int, default=4)
    options = parser.parse_args()
    root = options.root.resolve()
    context = Context(root, read_settings(root)[1], "rbr")
    own, rl = context.settings.evaluation, context.settings.rl
    asked = [p for p in common.prompts(context, "validation") if p.response_type != "comply"]
    judge, reward = common.load_judge(context), common.load_reward(context)
    rows = [p for p in asked for _ in range(options.samples)]
    conversations = [p.conversation for p in asked], [p.conversation for p in rows]

    def classes(prompts: list[PolicyPrompt], completions: list[str]) -> list[str]:
        judged = judge.judge(
            [p.conversation for p in prompts], completions, [p.response_type for p in prompts]
        )
        return [verdict.completion_class for verdict, _ in judged]

    for name, _, folder in (model.partition("=") for model in options.model):
        # By the model's own digest: a model that was trained anew answers anew.
        kept = root / ".cache" / "limits" / file_digest(root / folder / "model.safetensors")
        greedy = generate(
            root / folder, conversations[0], own.max_new_tokens, own.batch_size, kept / "greedy"
        )
        samples = generate(
            root / folder, conversations[1], own.max_new_tokens, own.batch_size, kept / "sampled",
            sample_seed=SEED, temperature=rl.temperature,
        )  # fmt: skip
        found = np.array(classes(asked, greedy)), np.array(classes(rows, samples))
        scores = np.array(reward(conversations[1], samples, [p.response_type for p in rows]))
        told(name, asked, options.samples, found, scores)


def told(
    name: str,
    asked: list[PolicyPrompt],
    samples: int,
    found: tuple[np.ndarray, np.ndarray],
    scores: np.ndarray,
) -> None:
    """Print a model's lines.

    Args:
        found: classes of the greedy answers (n,) and of the samples (n * samples,).
        scores: R_tot of the samples.
    """
    kinds = np.array([p.response_type for p in asked])
    sampled, scores = found[1].reshape(-1, samples), scores.reshape(-1, samples)
    print(f"{name}: ideal, percent")
    for kind in (*sorted(set(kinds)), "all"):
        inside = np.flatnonzero((kinds == kind) | (kind == "all"))
        ideal = sampled[inside] == "ideal"
        count = ideal.sum(1)
        right = [
            scores[i, a] > scores[i, b]
            for i in inside
            for a, b in itertools.product(
                np.flatnonzero(sampled[i] == "ideal"), np.flatnonzero(sampled[i] != "ideal")
            )
        ]
        others = Counter(sampled[inside][~ideal].tolist()).most_common()
        print(
            f"  {kind:<26} prompts {len(inside):3d}  greedy {share(found[0][inside] == 'ideal')}"
            f"  sampled {share(ideal)}  ever {share(count > 0)}"
            f"  mixed {share((count > 0) & (count < samples))}"
            f"  reward right {share(np.array(right))} of {len(right)} pairs"
            f"  others {', '.join(f'{n} {c}' for n, c in others)}"
        )


def share(values: np.ndarray) -> str:
    """A mean in percent."""
    return f"{100 * values.mean():5.1f}" if len(values) else "    -"


if __name__ == "__main__":
    main()
