"""How fast the grader's engines are beside each other, in one run.

    python -m benchmarks.grading [--rows 8] [--model smollm2] [--vllm-python .venv-vllm/bin/python]

Grades the same answers, all 23 propositions each, by: one full prompt per proposition (``apart``), all
questions behind one shared prefix (``transformers``), a head on hidden states (``head``, random heads:
the cost is the same), and vLLM where it is installed. Prints seconds per answer and ratios, loading
left out. The conversations are the longest gold rows: their prefix is what production has.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import (
    ROOT,
    Tokens,
    arguments,
    longest_gold,
    model_folder,
    random_head,
    run_apart,
    seconds,
    texts_of,
)
from rbr.grading.yesno import YesNoGrader
from rbr.rules.rules import load_rules

if TYPE_CHECKING:
    from rbr.grading.base import Grader
    from rbr.grading.engines.base import YesNoEngine


def engine(name: str, model: Path) -> YesNoEngine:
    """A yes/no engine of the model."""
    if name == "vllm":
        from rbr.grading.engines.vllm import VLLMEngine

        return VLLMEngine(model, dtype="float32", enforce_eager=True, max_model_len=2048)
    from rbr.grading.engines.transformers import TransformersEngine

    class Apart(TransformersEngine):
        """Asks each question by a full prompt of its own."""

        def log_odds(self, prompts: Sequence[Sequence[str]], progress: Any = None) -> Any:
            alone = [[prompt] for row in prompts for prompt in row]
            return super().log_odds(alone, progress).reshape(len(prompts), -1)

    kind = Apart if name == "apart" else TransformersEngine
    return kind(model, batch_size=1)


def measure(name: str, model: Path, count: int) -> float:
    """Seconds per answer of one engine, after a first row that is not counted."""
    conversations, completions = texts_of(longest_gold(count))
    with tempfile.TemporaryDirectory() as folder:
        if name == "head":
            grader: Grader = random_head(model, Path(folder))
        else:
            grader = YesNoGrader(engine(name, model), load_rules(ROOT / "rules"))
        grader.grade(conversations[:1], completions[:1])
        return seconds(lambda: grader.grade(conversations, completions)) / len(completions)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--model", default="smollm2", help="tiny, an embedded model, or a folder")
    parser.add_argument("--vllm-python", type=Path, default=ROOT / ".venv-vllm/bin/python")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = model_folder(options.model)
    if options.only:
        print(measure(options.only, model, options.rows))
        return
    conversations, completions = texts_of(longest_gold(options.rows))
    length = Tokens(model).both(conversations, completions) / len(completions)
    print(f"{len(completions)} answers, {length:.0f} tokens each with their conversation")
    found = {name: measure(name, model, options.rows) for name in ("apart", "transformers", "head")}
    if options.vllm_python.exists():
        command = ["benchmarks.grading", "--only", "vllm", "--rows", str(options.rows)]
        # On a CPU vLLM reserves most of the memory for its cache by default.
        environment = {"VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")}
        found["vllm"] = run_apart(
            *command, "--model", str(model), python=options.vllm_python, environment=environment
        )
    for name, value in found.items():
        ratio = found["transformers"] / value
        print(
            f"{name:<14}{value * 1000:10.1f} ms per answer, {ratio:6.2f} x as fast as transformers"
        )


if __name__ == "__main__":
    main()
