"""How fast this machine does each kind of work: what `rbr plan` computes from.

    python -m benchmarks.rates [--root .] [--rows 192] [--out FILE]

Runs each kind of work for a short while through the artifacts' own functions, on the data and models of a
workspace where the graph has run, and writes floating-point operations per second by the formulas of
orchestration/planning/work.py, mean lengths in tokens, and overheads. Nothing else should run meanwhile.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import yaml

from assets.sft_checkpoint import chosen_demonstrations
from benchmarks.common import ROOT, arguments, open_context, seconds, texts_of
from orchestration.planning.inputs import Lengths, Shape
from orchestration.planning.report import PLANS
from orchestration.planning.rows import count_rows
from orchestration.planning.work import Workload, decoding_operations, training_operations
from pipeline import rows
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.profile import read_profile
from pipeline.run import NoRun
from rbr.comparisons.conditioned import few_shot, request_conversation, requests
from rbr.comparisons.training_rows import training_rows
from rbr.data.rows import CapabilityItem, CapabilityText, TrainingRows
from rbr.evaluation.capability import capability
from rbr.files import iter_json_lines, read_json, read_rows, replacing
from rbr.grading.encoder import PairTokenizer
from rbr.grading.head import HeadGrader
from rbr.grading.options import TuningOptions
from rbr.grading.prompts import question_text
from rbr.grading.store import GradeStore
from rbr.grading.tune import fine_tune
from rbr.models.generate import Batch, Generator
from rbr.models.load import chat_texts, load_tokenizer, prompt_text
from rbr.models.trainer import MetricsCallback
from rbr.training.reward_model import RewardModel, train_reward_model
from rbr.training.sft import train_sft


class FileRun(NoRun):
    """Keeps metrics in a file: a training in processes of its own reports to it too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def latest(self) -> dict[str, float]:
        """The newest value of each metric."""
        return {k: v for _, row in iter_json_lines(self._path) for k, v in row.items()}


@dataclass(frozen=True)
class Bench:
    """A workspace's models and data; ``count`` rows are worked on."""

    context: Context
    count: int
    scratch: Path

    @cached_property
    def policy(self) -> Shape:
        return self.shape("base_model")

    @cached_property
    def judge(self) -> Shape:
        return self.shape("judge_model")

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.context.path("base_model"))

    @cached_property
    def comparisons(self) -> list[Any]:
        return rows.comparisons(self.context, "train")

    @cached_property
    def texts(self) -> list[CapabilityText]:
        return read_rows(self.context.source / "capability_text.jsonl", CapabilityText)

    @cached_property
    def items(self) -> list[CapabilityItem]:
        items = read_rows(self.context.source / "capability.jsonl", CapabilityItem)
        return items[: self.context.settings.evaluation.capability_items]

    def shape(self, model: str) -> Shape:
        return Shape.model_validate(read_json(self.context.path(model) / "config.json"))

    def folder(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir(exist_ok=True)
        return path

    # -- lengths -----------------------------------------------------------------------------------

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def prompt_tokens(self, conversations: Sequence[Any]) -> list[int]:
        """Tokens of each conversation in the chat template."""
        return self.tokens(chat_texts(self.tokenizer, conversations))

    def pair_tokens(self, model: str, conversations: Sequence[Any], texts: Sequence[str]) -> int:
        """Tokens that heads on a model read."""
        tokenizer = PairTokenizer(load_tokenizer(self.context.path(model)))
        return sum(len(pair.ids) for pair in tokenizer(conversations, texts))

    def answers(self, name: str) -> list[str]:
        """Completions of all evaluations of a name."""
        folders = [self.context.path(k) for k, a in self.context.graph.items() if a.name == name]
        files = [path for folder in folders for path in sorted(folder.glob("*.jsonl"))]
        return [row["completion"] for path in files for _, row in iter_json_lines(path)]

    def lengths(self) -> Lengths:
        """Means over the workspace's own data and what its models answered."""
        context, draw, rules = self.context, random.Random(0), compiled_rules(self.context)
        train, gold = rows.safety_prompts(context, "train"), rows.gold(context, "train")
        safety = self.prompt_tokens([prompt.conversation for prompt in train])
        limit, examples = (
            context.settings.rl.max_prompt_tokens,
            context.settings.comparisons.examples,
        )
        asked = [
            request_conversation(request, few_shot(request, rules, train, examples, draw))
            for request in requests(draw.sample(train, 24), rules, train, 0)
        ]
        pairs = rows.preferences(context, "helpful_preferences", "train")[: self.count]
        preferred = [(p.conversation, text) for p in pairs for text in (p.chosen, p.rejected)]
        some = texts_of(self.comparisons[: self.count])
        histories = [
            read_json(context.path(key) / "history.json")
            for key, artifact in context.graph.items()
            if artifact.name == "ppo_checkpoint"
        ]

        def demonstration(examples: Sequence[tuple[Any, str]]) -> float:
            prompts = self.prompt_tokens([conversation for conversation, _ in examples])
            # The end of the turn, and the line break behind it.
            return mean(prompts) + mean(self.tokens([text for _, text in examples])) + 2

        return Lengths(
            prompt=mean(safety),
            rl_prompt=mean(length for length in safety if length <= limit),
            composed=mean(self.tokens([row.completion for row in self.comparisons])),
            gold=mean(self.prompt_tokens([row.conversation for row in gold]))
            + mean(self.tokens([row.completion for row in gold])),
            demonstration=demonstration(self.demonstrations()),
            preference=demonstration(preferred),
            generated=mean(self.tokens(self.answers("baseline_eval"))),
            answered=mean(self.tokens(self.answers("safety_eval"))),
            rollout=mean(row["completions/mean_length"] for own in histories for row in own),
            request=mean(self.tokens([prompt_text(self.tokenizer, turns) for turns in asked])),
            question=mean(
                self.tokens([question_text(p, "examples") for p in rules.propositions.values()])
            ),
            capability=mean(self.capability_tokens(self.items, self.texts)),
            judge=self.pair_tokens("judge_model", *some) / self.pair_tokens("base_model", *some),
        )

    def demonstrations(self) -> list[tuple[Any, str]]:
        artifact = self.context.graph["rbr/sft_checkpoint"]
        return chosen_demonstrations(replace(self.context, artifact=artifact))

    def capability_tokens(
        self, items: Sequence[CapabilityItem], texts: Sequence[CapabilityText]
    ) -> list[int]:
        """Tokens of each pass of a capability evaluation."""
        choices = [(item.question, choice) for item in items for choice in item.choices]
        both = [
            self.tokens([text for text, _ in choices]),
            self.tokens([text for _, text in choices]),
        ]
        return [*self.tokens([text.text for text in texts]), *map(sum, zip(*both, strict=True))]

    # -- rates: operations per second --------------------------------------------------------------

    def trained(
        self, prefix: str, function: Callable[..., Any], model: str, **arguments: Any
    ) -> dict[str, float]:
        """Metrics of a short training."""
        run = FileRun(self.scratch / f"{prefix}-{model}.jsonl")
        function(
            self.context.path(model),
            checkpoints=self.folder(f"{prefix}-{model}-checkpoints"),
            seed=0,
            callbacks=[MetricsCallback(run.metrics, prefix)],
            **arguments,
        )
        return {name.rpartition("/")[2]: value for name, value in run.latest().items()}

    def tune(self, model: str, shape: Shape, options: TuningOptions) -> float:
        """Fine-tuning a backbone with heads."""
        grader, rules = self.context.settings.grader, compiled_rules(self.context)
        every = training_rows(
            rows.gold(self.context, "train"),
            rows.safety_prompts(self.context, "train"),
            rules,
            grader.composed_per_type,
            grader.composed_comply,
            self.context.settings.seed,
        )
        number = len(every.completions)
        order = random.Random(0).sample(range(number), min(3 * self.count, number))
        fields = ("conversations", "completions", "true", "response_types", "groups")
        picked = [[getattr(every, name)[i] for i in order] for name in fields]
        # All as gold: each is seen once.
        some = TrainingRows(*picked, np.ones(len(order), dtype=bool))
        names = rules.proposition_names
        metrics = self.trained(
            "tuning",
            fine_tune,
            model,
            rows=some,
            label_weights=np.ones((len(order), len(names))),
            propositions=names,
            options=options.model_copy(update={"gold_epochs": 1}),
        )
        each = self.pair_tokens(model, some.conversations, some.completions) / len(order)
        operations = each * training_operations(shape, options.layers, options.trained_layers)
        return operations * metrics["train_samples_per_second"]

    def read(
        self, artifact: str, model: str, shape: Shape, options: TuningOptions
    ) -> tuple[float, float]:
        """Operations and seconds of a grader with heads."""
        grader = HeadGrader(self.context.path(artifact), self.context.path(model))
        some = texts_of(self.comparisons[: 2 * self.count])
        tokens = self.pair_tokens(model, *some)
        grader.grade(*(part[:32] for part in some))
        return 2 * tokens * shape.layers(options.layers), seconds(lambda: grader.grade(*some))

    def rewarded(self) -> tuple[float, float]:
        """Operations and seconds of R_rm."""
        model = RewardModel(self.context.path("helpful_reward_model"))
        conversations, texts = texts_of(self.comparisons[: self.count])
        tokens = sum(self.prompt_tokens(conversations)) + sum(self.tokens(texts))
        layers = self.policy.layers(self.context.settings.reward_model.layers)
        return 2 * tokens * layers, seconds(lambda: model.score(conversations, texts))

    def generate(self) -> tuple[float, float]:
        """The rate of a full batch's greedy answers; seconds to load the model."""
        options, loaded = self.context.settings.evaluation, []
        path, limit = self.context.path("base_model"), options.max_new_tokens
        load = seconds(lambda: loaded.append(Generator(path, limit)))
        prompts = rows.evaluated_prompts(self.context)[: options.batch_size]
        conversations = tuple(prompt.conversation for prompt in prompts)
        loaded[0](Batch(conversations[:4], None))
        took = seconds(lambda: loaded[0](Batch(conversations, None)))
        each = decoding_operations(self.policy, mean(self.prompt_tokens(conversations)), limit)
        return len(conversations) * each / took, load

    def sft(self) -> float:
        options = self.context.settings.sft
        metrics = self.trained(
            "sft",
            train_sft,
            "base_model",
            demonstrations=self.demonstrations()[: self.count],
            target=self.folder("sft-model"),
            options=options,
        )
        each = training_operations(self.policy, None, options.trained_layers) + 4 * self.policy.head
        return metrics["num_tokens"] * each / metrics["train_runtime"]

    def reward_model(self) -> float:
        options = self.context.settings.reward_model.model_copy(update={"epochs": 1.0})
        pairs = rows.preferences(self.context, "helpful_preferences", "train")
        metrics = self.trained(
            "reward_model",
            train_reward_model,
            "base_model",
            train=pairs[: self.count // 2],
            target=self.folder("reward-model"),
            options=options,
        )
        each = training_operations(self.policy, options.layers, options.trained_layers)
        return metrics["num_tokens"] * each / metrics["train_runtime"]

    def ppo(self, lengths: Lengths, rates: Mapping[str, float]) -> tuple[float, float]:
        """The rate of PPO's own part of three rollouts; seconds of a launch."""
        context, run = self.context, FileRun(self.scratch / "ppo.jsonl")
        rl = context.settings.rl.model_copy(update={"steps": 3, "save_steps": 99})
        settings = context.settings.model_copy(update={"rl": rl})
        artifact, target = context.graph["rbr/ppo_checkpoint"], self.folder("ppo-model")
        training = replace(context, settings=settings, artifact=artifact, run=run)
        wall = seconds(lambda: artifact.body(training, target))
        history = read_json(target / "history.json")
        rollout = mean(row["completions/mean_length"] for row in history)
        work = Workload(
            settings,
            count_rows(context.root, settings),
            lengths.model_copy(update={"rollout": rollout}),
            self.policy,
            self.policy,
            self.judge,
            1.0,
        )
        parts = [part for part in work.works() if part.artifact == artifact.key]
        runtime = run.latest()[f"{rl.algorithm}/train_runtime"]
        others = sum(part.operations / rates[part.rate] for part in parts if part.rate != "ppo")
        own = sum(part.operations for part in parts if part.rate == "ppo")
        return own / (runtime - others), wall - runtime

    def capability(self) -> float:
        items, texts = self.items[:24], self.texts[:4]
        took = seconds(lambda: capability(self.context.path("base_model"), items, texts))
        tokens = sum(self.capability_tokens(items, texts))
        return 2 * tokens * (self.policy.layers() + self.policy.head) / took

    def artifact(self) -> float:
        """Seconds of an artifact that works on no model."""
        root = self.folder("workspace")
        (root / "data").mkdir()
        for name in ("rules", "data/source"):
            (root / name).symlink_to(self.context.root / name)
        context = replace(self.context, root=root)

        def make(name: str) -> None:
            with replacing(context.path(name)) as output:
                context.graph[name].body(context, output)

        names = ("rules", "safety_prompts", "gold_propositions", "helpful_preferences")
        return mean(seconds(lambda name=name: make(name)) for name in names)  # type: ignore[misc]


def peak() -> float:
    """Operations per second of a large 32-bit matrix product."""
    size = 2048
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(9))


def measure(context: Context, count: int, scratch: Path) -> dict[str, Any]:
    """The file's contents."""
    bench, settings = Bench(context, count, scratch), context.settings
    grader, judge = settings.grader.tuning, settings.judge.tuning
    lengths = bench.lengths()
    print(f"lengths: {lengths}", flush=True)
    generate, load = bench.generate()
    graded, rewarded = bench.read("grader", "base_model", bench.policy, grader), bench.rewarded()
    judged = bench.read("judge", "judge_model", bench.judge, judge)
    rates = {
        "peak": peak(),
        "tune": bench.tune("base_model", bench.policy, grader),
        "read": (graded[0] + rewarded[0]) / (graded[1] + rewarded[1]),
        "generate": generate,
        "sft": bench.sft(),
        "reward_model": bench.reward_model(),
        "judge_tune": bench.tune("judge_model", bench.judge, judge),
        "judge_read": judged[0] / judged[1],
        "capability": bench.capability(),
    }
    rates["ppo"], launch = bench.ppo(lengths, rates)
    store = context.root / ".cache" / "grades.sqlite"
    files = [
        path
        for name in ("synthetic_comparisons", "graded_comparisons")
        for path in context.path(name).iterdir()
    ]
    comparisons = sum(len(rows.comparisons(context, split)) for split in rows.SPLITS)
    metrics = read_json(context.path("synthetic_comparisons") / "metrics.json")
    return {
        "profile": read_profile(context.root)[0],
        "machine": f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}, 32 bits",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "attempts": metrics["generated.attempts"],
        "grade_bytes": store.stat().st_size / len(GradeStore(store)),
        "row_bytes": sum(path.stat().st_size for path in files) / comparisons,
        "models": {
            settings.models.policy: bench.policy.model_dump(exclude_none=True),
            settings.models.judge: bench.judge.model_dump(exclude_none=True),
        },
        "lengths": lengths.model_dump(),
        "rates": rates,
        "overheads": {"artifact": bench.artifact(), "load": load, "launch": launch},
    }


def processor() -> str:
    """The processor's name, where Linux has it."""
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
    parser = arguments(__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--rows", type=int, default=192, help="rows that each kind of work is on")
    parser.add_argument("--out", type=Path, help="default: deploy/plans/<profile>.yaml of the root")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        context = open_context(options.root, "rules")
        found = rounded(measure(context, options.rows, Path(scratch)))
    header = "# Measured by benchmarks/rates.py; rates in floating-point operations per second.\n"
    out = options.out or context.root / PLANS / f"{found['profile']}.yaml"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(header + yaml.safe_dump(found, sort_keys=False))
    print(out.read_text())


if __name__ == "__main__":
    main()
