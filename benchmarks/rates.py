"""How fast this machine does each kind of work: what `rbr plan` computes from.

    python benchmarks/rates.py [--root .] [--out deploy/plans/laptop.yaml]

Runs each kind of work for a short while through the steps' own functions, on the workspace's own data and
models (the graph must have been run there once), and writes floating-point operations a second by the
formulas of rbr/plan/work.py, mean lengths in tokens, and overheads. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402

from rbr.comparisons.conditioned import few_shot, request_conversation, requests  # noqa: E402
from rbr.data.rows import CapabilityItem, CapabilityText  # noqa: E402
from rbr.evaluation.capability import capability  # noqa: E402
from rbr.models.generate import Batch, Generator  # noqa: E402
from rbr.files import read_json, read_rows  # noqa: E402
from rbr.grading.encoder import PairTokenizer  # noqa: E402
from rbr.comparisons.training_rows import TrainingRows, training_rows  # noqa: E402
from rbr.grading.head import HeadGrader  # noqa: E402
from rbr.grading.prompts import question_text  # noqa: E402
from rbr.grading.tune import fine_tune  # noqa: E402
from rbr.models.load import chat_texts, load_tokenizer, prompt_text  # noqa: E402
from orchestration.planning.amounts import amounts  # noqa: E402
from orchestration.planning.measured import Lengths  # noqa: E402
from orchestration.planning.work import Count, tuned  # noqa: E402
from orchestration.planning.workspace import shapes  # noqa: E402
from pipeline.profile import VARIANTS, read_settings  # noqa: E402
from rbr.steps import Context, common, run_step, sft_checkpoint  # noqa: E402
from rbr.steps import helpful_reward_model as reward_step  # noqa: E402
from pipeline.launch import launched  # noqa: E402
from rbr.training.reward_model import RewardModel, train_reward_model  # noqa: E402
from rbr.training.sft import train_sft  # noqa: E402

ROWS = 192


class Latest:
    """A tracker that keeps the newest value of each metric."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.values.update(values)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        pass

    def message(self, text: str) -> None:
        print(f"  {text}", flush=True)


def timed(work: Callable[[], Any]) -> float:
    """Wall seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak() -> float:
    """Operations a second of a large 32-bit matrix product."""
    size = 2048
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(8))


class Bench:
    """One workspace's models and data."""

    def __init__(self, root: Path) -> None:
        self.profile, self.settings = read_settings(root)
        self.context = Context(root, self.settings)
        self.rules = self.context.rules
        self.shapes = shapes(self.context)
        self.tokenizer = load_tokenizer(self.context.path("base_model"))
        self.train = common.prompts(self.context, "train")
        self.eval = common.evaluated_prompts(self.context)
        self.comparisons = common.comparisons(self.context, "train")
        self.rows = training_rows(
            common.gold(self.context, "train"),
            self.train,
            self.rules,
            self.settings.grader.composed_per_type,
            self.settings.grader.composed_comply,
            self.settings.seed,
        )
        self.scratch = Path(tempfile.mkdtemp(prefix="rates-"))

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def lengths(self) -> Lengths:
        """Means over the workspace's own data and what its models answered."""
        draw = random.Random(0)

        def talk(rows: Sequence[Any]) -> list[int]:
            return [
                self.count(t) for t in chat_texts(self.tokenizer, [r.conversation for r in rows])
            ]

        safe = talk(self.train)
        most = self.settings.rl.max_prompt_tokens
        gold = common.gold(self.context, "train")
        pairs = reward_step.pairs(self.context)[:ROWS]
        demos = sft_checkpoint.demonstrations(replace(self.context, variant="rbr"))
        ordered = requests(draw.sample(self.train, 24), self.rules, self.train, 0)
        examples = self.settings.comparisons.examples
        answers = [
            row["completion"]
            for row in _json_lines(self.context.path("baseline_eval") / "base.jsonl")
        ]
        answered = [
            row["completion"]
            for v in VARIANTS
            for path in sorted(self.context.path("safety_eval", v).glob("*.jsonl"))
            for row in _json_lines(path)
        ]
        history = [
            read_json(self.context.path("ppo_checkpoint", v) / "history.json") for v in VARIANTS
        ]
        texts = read_rows(self.context.source / "capability_text.jsonl", CapabilityText)
        items = self.items()
        judge = PairTokenizer(load_tokenizer(self.context.path("judge_model")))
        own = PairTokenizer(self.tokenizer)
        some = self.comparisons[:ROWS]
        both = [
            sum(
                len(p.ids)
                for p in tokens([r.conversation for r in some], [r.completion for r in some])
            )
            for tokens in (judge, own)
        ]
        return Lengths(
            prompt=mean(safe),
            rl_prompt=mean(n for n in safe if n <= most),
            composed=mean(self.count(r.completion) for r in self.comparisons),
            gold=mean(
                a + b
                for a, b in zip(talk(gold), (self.count(r.completion) for r in gold), strict=True)
            ),
            demonstration=mean(
                self.count(prompt_text(self.tokenizer, t)) + self.count(a) + 2 for t, a in demos
            ),
            preference=mean(
                self.count(prompt_text(self.tokenizer, p.conversation)) + self.count(a) + 2
                for p in pairs
                for a in (p.chosen, p.rejected)
            ),
            generated=mean(self.count(a) for a in answers),
            answered=mean(self.count(a) for a in answered),
            rollout=mean(
                row["completions/mean_length"] for own_history in history for row in own_history
            ),
            ordered=mean(
                self.count(
                    prompt_text(
                        self.tokenizer,
                        request_conversation(o, few_shot(o, self.rules, self.train, examples, draw)),
                    )
                )
                for o in ordered
            ),
            question=mean(
                self.count(question_text(p, "examples")) for p in self.rules.propositions.values()
            ),
            capability=mean(
                [self.count(t.text) for t in texts]
                + [self.count(i.question) + self.count(c) for i in items for c in i.choices]
            ),
            judge=both[0] / both[1],
        )

    def items(self) -> list[CapabilityItem]:
        rows = read_rows(self.context.source / "capability.jsonl", CapabilityItem)
        return rows[: self.settings.evaluation.capability_items]

    # -- kinds of work -----------------------------------------------------------------------------------

    def tune(self, model: str) -> float:
        """Operations a second of fine-tuning a backbone with heads."""
        options = (
            self.settings.grader.tuning if model == "base_model" else self.settings.judge.tuning
        )
        shape = self.shapes.policy if model == "base_model" else self.shapes.judge
        order = random.Random(0).sample(range(len(self.rows.completions)), 3 * ROWS)
        rows = picked(self.rows, order)
        tracker = Latest()
        folder = self.scratch / f"tune-{model}"
        fine_tune(
            self.context.path(model),
            rows,
            np.ones((len(order), len(self.rules.proposition_names))),
            self.rules.proposition_names,
            options.model_copy(update={"gold_epochs": 1}),
            self.settings,
            folder,
            tracker,
            0,
        )
        took = tracker.values["tuning/train_runtime"]
        samples = took * tracker.values["tuning/train_samples_per_second"]
        tokens = PairTokenizer(load_tokenizer(self.context.path(model)))
        each = mean(len(p.ids) for p in tokens(rows.conversations, rows.completions))
        return samples * each * tuned(options, shape) / took

    def read(self, folder: str, model: str) -> tuple[float, float]:
        """Operations and seconds of a grader with heads."""
        shape = self.shapes.policy if model == "base_model" else self.shapes.judge
        grader = HeadGrader(self.context.path(folder), self.context.path(model))
        some = self.comparisons[: 2 * ROWS]
        conversations, texts = [r.conversation for r in some], [r.completion for r in some]
        tokens = PairTokenizer(load_tokenizer(self.context.path(model)))
        count = sum(len(p.ids) for p in tokens(conversations, texts))
        layers = (
            self.settings.grader.tuning.layers
            if folder == "grader"
            else self.settings.judge.tuning.layers
        )
        grader.grade(conversations[:32], texts[:32])
        return 2 * count * layers * shape.layer, timed(lambda: grader.grade(conversations, texts))

    def rewarded(self) -> tuple[float, float]:
        """Operations and seconds of R_rm."""
        model = RewardModel(self.context.path("helpful_reward_model"))
        some = self.comparisons[:ROWS]
        conversations, texts = [r.conversation for r in some], [r.completion for r in some]
        count = sum(map(self.count, chat_texts(self.tokenizer, conversations))) + sum(
            map(self.count, texts)
        )
        took = timed(lambda: model.score(conversations, texts))
        return 2 * count * self.settings.reward_model.layers * self.shapes.policy.layer, took

    def generate(self) -> tuple[float, float]:
        """Operations a second of a full batch's greedy answers; seconds to load the model."""
        options, shape = self.settings.evaluation, self.shapes.policy
        start = time.perf_counter()
        model = Generator(self.context.path("base_model"), options.max_new_tokens)
        load = time.perf_counter() - start
        conversations = [p.conversation for p in self.eval[: options.batch_size]]
        model(Batch(tuple(conversations[:4]), None))
        took = timed(lambda: model(Batch(tuple(conversations), None)))
        prompt = mean(self.count(t) for t in chat_texts(self.tokenizer, conversations))
        each = shape.num_hidden_layers * shape.layer
        limit = options.max_new_tokens
        return 2 * len(conversations) * ((prompt + limit) * each + limit * shape.head) / took, load

    def sft(self) -> float:
        options, shape = self.settings.sft, self.shapes.policy
        demos = sft_checkpoint.demonstrations(replace(self.context, variant="rbr"))[:ROWS]
        tracker = Latest()
        train_sft(
            self.context.path("base_model"),
            demos,
            self.folder("sft"),
            self.folder("sft-model"),
            self.settings,
            tracker,
        )
        tokens = tracker.values["sft/num_tokens"]
        each = shape.layer * (2 * shape.num_hidden_layers + 4 * options.trained_layers)
        return tokens * (each + 4 * shape.head) / tracker.values["sft/train_runtime"]

    def reward_model(self) -> float:
        options, shape = self.settings.reward_model, self.shapes.policy
        tracker = Latest()
        train_reward_model(
            self.context.path("base_model"),
            reward_step.pairs(self.context)[:96],
            self.folder("rm"),
            self.folder("rm-model"),
            self.settings.model_copy(
                update={"reward_model": options.model_copy(update={"epochs": 1.0})}
            ),
            tracker,
        )
        each = shape.layer * (2 * options.layers + 4 * options.trained_layers)
        values = tracker.values
        return values["reward_model/num_tokens"] * each / values["reward_model/train_runtime"]

    def ppo(self, read: float, generate: float, lengths: Lengths) -> tuple[float, float]:
        """Operations a second of looks and updates, what a rollout's other parts take put aside; and
        seconds of a launch."""
        rollouts = 3
        settings = self.settings.model_copy(
            update={"rl": self.settings.rl.model_copy(update={"steps": rollouts, "save_steps": 99})}
        )
        tracker = Latest()
        context = Context(self.context.root, settings, "rbr", tracker)
        folder, scratch = self.folder("ppo-model"), self.folder("ppo")
        wall = timed(lambda: launched("ppo_checkpoint", context, scratch, folder))
        history = read_json(folder / "history.json")
        own = lengths.model_copy(
            update={"rollout": mean(row["completions/mean_length"] for row in history)}
        )
        parts = Count(settings, amounts(context), own, self.shapes, 1.0).steps()
        parts = [part for part in parts if part.step == "ppo_checkpoint@rbr"]
        runtime = tracker.values["ppo/train_runtime"]
        rates = {"generate": generate, "read": read}
        aside = sum(part.operations / rates[part.kind] for part in parts if part.kind != "ppo")
        rate = sum(part.operations for part in parts if part.kind == "ppo") / (runtime - aside)
        return rate, wall - runtime

    def capability(self) -> float:
        shape, items = self.shapes.policy, self.items()[:24]
        took = timed(lambda: capability(self.context.path("base_model"), items, self.texts()[:4]))
        count = sum(self.count(t.text) for t in self.texts()[:4])
        count += sum(self.count(i.question) + self.count(c) for i in items for c in i.choices)
        return 2 * count * (shape.num_hidden_layers * shape.layer + shape.head) / took

    def texts(self) -> list[CapabilityText]:
        return read_rows(self.context.source / "capability_text.jsonl", CapabilityText)

    def step(self) -> float:
        """Seconds of a step that works on no model."""
        root = self.scratch / "workspace"
        root.mkdir()
        for name in ("rules", "profiles", "params.yaml"):
            (root / name).symlink_to(self.context.root / name)
        (root / "data").mkdir()
        (root / "data" / "source").symlink_to(self.context.source)
        steps = ("rules", "safety_prompts", "gold_propositions", "helpful_preferences")
        return mean(timed(lambda s=s: run_step(s, Context(root, self.settings))) for s in steps)

    def folder(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir(exist_ok=True)
        return path


def picked(rows: TrainingRows, order: Sequence[int]) -> TrainingRows:
    """Some of the rows, all taken as gold so that each is seen once."""

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in order]

    return TrainingRows(
        some(rows.conversations),
        some(rows.completions),
        some(rows.true),
        some(rows.response_types),
        some(rows.groups),
        np.ones(len(order), dtype=bool),
    )


def _json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(root: Path) -> dict[str, Any]:
    """The file's contents."""
    bench = Bench(root)
    lengths = bench.lengths()
    print(f"lengths: {lengths}", flush=True)
    top = peak()
    generate, load = bench.generate()
    graded, rewarded = bench.read("grader", "base_model"), bench.rewarded()
    read = (graded[0] + rewarded[0]) / (graded[1] + rewarded[1])
    judged = bench.read("judge", "judge_model")
    rates = {
        "peak": top,
        "tune": bench.tune("base_model"),
        "read": read,
        "generate": generate,
        "sft": bench.sft(),
        "reward_model": bench.reward_model(),
        "judge_tune": bench.tune("judge_model"),
        "judge_read": judged[0] / judged[1],
        "capability": bench.capability(),
    }
    rates["ppo"], launch = bench.ppo(read, generate, lengths)
    store = bench.context.root / ".cache" / "grades.sqlite"
    files = [bench.context.path(n) for n in ("synthetic_comparisons", "graded_comparisons")]
    size = sum(p.stat().st_size for folder in files for p in folder.iterdir())
    rows = sum(len(common.comparisons(bench.context, s)) for s in common.SPLITS)
    made = read_json(bench.context.path("synthetic_comparisons") / "metrics.json")
    return {
        "profile": bench.profile,
        "machine": f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}, 32 bits",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "attempts": made["generated.attempts"],
        "grade_bytes": store.stat().st_size / grades(store),
        "row_bytes": size / rows,
        "lengths": lengths.model_dump(),
        "rates": rates,
        "overheads": {"step": bench.step(), "load": load, "launch": launch},
    }


def grades(store: Path) -> int:
    with sqlite3.connect(store) as base:
        return int(base.execute("select count(*) from grades").fetchone()[0])


def processor() -> str:
    """The processor's name, where Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def rounded(value: Any) -> Any:
    """Numbers to four digits, floats as YAML reads them back."""
    if isinstance(value, dict):
        return {name: rounded(own) for name, own in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--out", type=Path, default=ROOT / "deploy" / "plans" / "laptop.yaml")
    options = parser.parse_args()
    found = rounded(measure(options.root.resolve()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    beside = options.out.with_suffix(".partial")
    beside.write_text(
        "# Measured by benchmarks/rates.py; rates in floating-point operations a second.\n"
        + yaml.safe_dump(found, sort_keys=False)
    )
    beside.rename(options.out)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
