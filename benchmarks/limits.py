"""What limits ideal refusals: the grader, exploration, or the budget? In a workspace where the graph has run.

    python -m benchmarks.limits [--root .] [--model SFT=models/sft_checkpoint/rbr ...] [--samples 4]

Each model answers the *validation* prompts to refuse greedily and ``samples`` times at PPO's temperature; the
reward scores and the judge judges all. Per response type it prints, in percent:

- greedy, sampled: ideal refusals;
- ever, mixed: prompts with an ideal sample at all, and prompts whose samples differ in it, from which alone
  PPO can learn it (scores are centred within a prompt);
- reward right: of a prompt's pairs of an ideal and another sample, those where the reward prefers the ideal;
- others: classes of the samples that are not ideal.

Answers are kept in .cache/limits/ and reused.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, arguments, open_context
from pipeline.compiled_rules import compiled_rules
from pipeline.loading import load_judge_grader
from pipeline.reward import VariantReward
from pipeline.rows import safety_prompts, weights_digest
from rbr.evaluation.judge import Judge
from rbr.models.generate import generate

SEED = 1_000
# How the best class of a response type is told, whatever its name.
BEST = "best"
MODELS = ["SFT=models/sft_checkpoint/rbr", "PPO=models/ppo_checkpoint/rbr"]


def report(types: Sequence[str], greedy: Any, sampled: Any, scores: Any) -> None:
    """Print a line per response type, and one for all.

    Args:
        types: response types of n prompts.
        greedy: completion classes of the greedy answers, (n,).
        sampled, scores: completion classes and rewards of the samples, (n, samples).
    """
    for name in (*sorted(set(types)), "all"):
        inside = [i for i, own in enumerate(types) if name in (own, "all")]
        ideal = sampled[inside] == BEST
        count = ideal.sum(1)
        right = [
            scores[i, a] > scores[i, b]
            for i in inside
            for a, b in itertools.product(
                np.flatnonzero(sampled[i] == BEST), np.flatnonzero(sampled[i] != BEST)
            )
        ]
        others = Counter(sampled[inside][~ideal].tolist()).most_common()
        print(
            f"  {name:<26} prompts {len(inside):3d}  greedy {share(greedy[inside] == BEST)}"
            f"  sampled {share(ideal)}  ever {share(count > 0)}"
            f"  mixed {share((count > 0) & (count < sampled.shape[1]))}"
            f"  reward right {share(np.array(right))} of {len(right)} pairs"
            f"  others {', '.join(f'{other} {n}' for other, n in others)}"
        )


def share(values: np.ndarray[Any, Any]) -> str:
    """A mean in percent."""
    return f"{100 * values.mean():5.1f}" if values.size else "    -"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--model", nargs="+", metavar="NAME=FOLDER", default=MODELS)
    parser.add_argument("--samples", type=int, default=4)
    options = parser.parse_args()
    context = open_context(options.root, "rbr/ppo_checkpoint")
    evaluation, rl = context.settings.evaluation, context.settings.rl
    prompts = [p for p in safety_prompts(context, "validation") if not p.over_refusal]
    repeated = [prompt for prompt in prompts for _ in range(options.samples)]
    judge = Judge(load_judge_grader(context), compiled_rules(context))
    reward = VariantReward.of(context)
    for name, _, folder in (model.partition("=") for model in options.model):
        # By the digest of its weights: a model that is trained anew answers anew.
        model = context.root / folder
        kept = context.root / ".cache" / "limits" / weights_digest(model)
        classes = {}
        for way, asked, seed in (("greedy", prompts, None), ("sampled", repeated, SEED)):
            conversations = [prompt.conversation for prompt in asked]
            types = [prompt.response_type for prompt in asked]
            answers = generate(
                model,
                conversations,
                evaluation.max_new_tokens,
                evaluation.batch_size,
                kept / f"{way}.jsonl",
                sample_seed=seed,
                temperature=rl.temperature,
            )
            answers = [answer.text for answer in answers]
            judged = judge.judge(conversations, answers, types)
            classes[way] = np.array(
                [v.completion_class if v.quality != BEST else BEST for v, _ in judged]
            )
        scores = np.array(reward(conversations, answers, response_type=types))
        shape = len(prompts), options.samples
        print(f"{name}: ideal, percent")
        report(
            [prompt.response_type for prompt in prompts],
            classes["greedy"],
            classes["sampled"].reshape(shape),
            scores.reshape(shape),
        )


if __name__ == "__main__":
    main()
