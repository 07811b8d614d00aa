"""How fast the grader's engines are beside each other, in one run.

    python benchmarks/grading.py [--rows 8] [--model smollm2] [--vllm-python .venv-vllm/bin/python]

Grades the same answers, all 23 propositions each, by: one full prompt a proposition (``apart``), all
questions behind one shared prefix (``transformers``), a head on hidden states (``head``, random heads:
the cost is the same), and vLLM where it is installed. Prints seconds an answer and ratios. Loading is
not counted. The conversations are multi-turn gold rows: the prefix is what a production conversation
has (its mean length is printed).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.embedded import model_folder  # noqa: E402
from rbr.data.rows import Labelled  # noqa: E402
from rbr.files import read_folder  # noqa: E402
from rbr.grading.base import Grader  # noqa: E402
from rbr.grading.yesno import YesNoGrader  # noqa: E402
from rbr.models import load_tokenizer  # noqa: E402
from rbr.rules import load_rules  # noqa: E402


def rows(count: int) -> list[Labelled]:
    """The longest gold rows: those whose prefix is worth sharing."""
    every = read_folder(ROOT / "data/source/gold", Labelled)

    def length(row: Labelled) -> int:
        return sum(len(m.content) for m in row.conversation) + len(row.completion)

    return sorted(every, key=length, reverse=True)[:count]


def seconds(grader: Grader, own: list[Labelled]) -> float:
    """Seconds an answer; one warm-up row first."""
    conversations, texts = [row.conversation for row in own], [row.completion for row in own]
    grader.grade(conversations[:1], texts[:1])
    start = time.perf_counter()
    grader.grade(conversations, texts)
    return (time.perf_counter() - start) / len(own)


def random_head(model: Path, folder: Path) -> Grader:
    """A head grader of the laptop profile's shape: the model's own lower layers, random heads."""
    from rbr.grading.encoder import POOLED, first_layers
    from rbr.grading.head import HeadGrader
    from rbr.grading.heads import Heads
    from rbr.models.load import load_encoder
    from pipeline.profile import read_settings

    layers = read_settings(ROOT, "laptop")[1].grader.tuning.layers
    backbone = first_layers(load_encoder(model), layers)
    backbone.save_pretrained(folder / "backbone")
    names = load_rules(ROOT / "rules").proposition_names
    count = len(names)
    weight = np.random.default_rng(0).normal(size=(count, POOLED * backbone.config.hidden_size))
    flat = np.zeros(count)
    Heads(names, weight, flat, flat + 1, flat, flat + 0.5).save(folder, {})
    return HeadGrader(folder, model, batch_size=8)


def measure(engine: str, model: Path, own: list[Labelled]) -> float:
    """Seconds an answer of one engine."""
    rules = load_rules(ROOT / "rules")
    if engine == "head":
        with tempfile.TemporaryDirectory() as folder:
            return seconds(random_head(model, Path(folder)), own)
    if engine == "vllm":
        from rbr.grading.engines.vllm import VLLMEngine

        options = {"dtype": "float32", "enforce_eager": True, "max_model_len": 2048}
        return seconds(YesNoGrader(VLLMEngine(model, **options), rules), own)
    from rbr.grading.engines.shared import TransformersEngine

    shared = engine == "transformers"
    return seconds(
        YesNoGrader(TransformersEngine(model, batch_size=1, share_prefix=shared), rules), own
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--vllm-python", type=Path, default=ROOT / ".venv-vllm/bin/python")
    parser.add_argument("--only", help="measure one engine and print JSON (for the vllm process)")
    options = parser.parse_args()
    model = model_folder(options.model)
    own = rows(options.rows)
    if options.only:
        print(json.dumps({"seconds": measure(options.only, model, own)}))
        return
    tokenizer = load_tokenizer(model)
    lengths = [
        len(tokenizer("\n".join([*(m.content for m in r.conversation), r.completion]))["input_ids"])
        for r in own
    ]
    print(f"{len(own)} answers, conversation and answer {np.mean(lengths):.0f} tokens on average")
    found = {engine: measure(engine, model, own) for engine in ("apart", "transformers", "head")}
    if options.vllm_python.exists():
        command = [str(options.vllm_python), __file__, "--only", "vllm"]
        command += ["--rows", str(options.rows), "--model", str(model)]
        # On a CPU vLLM reserves most of the memory for its cache unless told otherwise.
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
        if lines:
            found["vllm"] = json.loads(lines[-1])["seconds"]
        else:
            print(f"vllm did not run: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    for engine, value in found.items():
        print(f"{engine:<14}{value * 1000:10.1f} ms an answer")
    print(
        f"transformers with a shared prefix / apart: {found['apart'] / found['transformers']:.1f} x"
    )
    print(f"head / transformers: {found['transformers'] / found['head']:.1f} x")
    if "vllm" in found:
        print(f"vllm / transformers: {found['transformers'] / found['vllm']:.2f} x")


if __name__ == "__main__":
    main()
