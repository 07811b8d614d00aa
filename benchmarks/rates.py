"""How fast this machine does each kind of work: what `rbr plan` computes from.

    python -m benchmarks.rates [--root .] [--rows 192] [--out FILE]

Makes artifacts of a workspace where the graph has run once more, on few rows and beside the others, and
writes floating-point operations per second by the formulas of orchestration/planning/work.py, mean
lengths in tokens, and overheads. Nothing else should run meanwhile.
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

import torch
import yaml

from assets.sft_checkpoint import chosen_demonstrations
from benchmarks.common import ROOT, Tokens, arguments, open_context, seconds, texts_of
from orchestration.planning.inputs import Lengths, Shape
from orchestration.planning.report import PLANS
from orchestration.planning.rows import count_rows
from orchestration.planning.work import Workload, decoding_operations
from pipeline import rows
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.profile import Settings, read_profile
from pipeline.run import NoRun
from rbr.comparisons.chat_writer import ChatWriter
from rbr.comparisons.conditioned import few_shot, request_conversation, requests
from rbr.comparisons.options import ChatWriterOptions
from rbr.data.rows import CapabilityItem, CapabilityText, Message
from rbr.evaluation.capability import capability
from rbr.files import iter_json_lines, read_json, read_rows, replacing
from rbr.grading.chat.prompts import statements
from rbr.grading.head import HeadGrader
from rbr.grading.load import make_chat_grader
from rbr.grading.options import GraderOptions
from rbr.grading.prompts import question_text
from rbr.grading.store import GradeStore
from rbr.models.generate import Batch, Generator
from rbr.models.load import prompt_text
from rbr.rules.rules import Rules
from rbr.training.reward_model import RewardModel

# Those that work on no model.
WRITTEN = ("rules", "safety_prompts", "gold_propositions", "helpful_preferences")


class FileRun(NoRun):
    """Keeps metrics in a file: a training in processes of its own reports to it too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def seconds(self) -> float:
        """How long the training took, without loading and saving."""
        found = {k: v for _, row in iter_json_lines(self._path) for k, v in row.items()}
        return next(value for name, value in found.items() if name.endswith("/train_runtime"))


def short_trainings(settings: Settings, count: int) -> dict[str, tuple[str, Settings]]:
    """Per rate the artifact that is made for it, and the settings with which it is soon made."""

    def some(section: str, **values: Any) -> Settings:
        options = getattr(settings, section).model_copy(update=values)
        return settings.model_copy(update={section: options})

    def tuning(section: str) -> Settings:
        return some(
            section, tuning=getattr(settings, section).tuning.model_copy(update={"epochs": 1})
        )

    demonstrations = {"helpful_demos": count // 2, "safety_demos": count // 2, "epochs": 1.0}
    return {
        "tune": ("grader", tuning("grader")),
        "judge_tune": ("judge", tuning("judge")),
        "sft": ("rbr/sft_checkpoint", some("sft", **demonstrations)),
        "reward_model": (
            "helpful_reward_model",
            some("reward_model", max_pairs=count // 2, epochs=1.0),
        ),
        "ppo": ("rbr/ppo_checkpoint", some("rl", steps=3, save_steps=99)),
    }


@dataclass(frozen=True)
class Bench:
    """A workspace's models and data; ``count`` rows are worked on."""

    context: Context
    count: int
    scratch: Path

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.context.path("base_model"))

    @cached_property
    def comparisons(self) -> tuple[list[Any], list[str]]:
        return texts_of(rows.comparisons(self.context, "train"))

    def shape(self, model: str) -> Shape:
        return Shape.model_validate(read_json(self.context.path(model) / "config.json"))

    def folders(self, name: str) -> list[Path]:
        """Folders of the artifacts of a name, of all variants."""
        graph = self.context.graph
        return [self.context.path(key) for key, own in graph.items() if own.name == name]

    def answers(self, name: str) -> float:
        """Mean tokens of the completions of all evaluations of a name."""
        files = [path for folder in self.folders(name) for path in folder.glob("*.jsonl")]
        completions = [row["completion"] for file in files for _, row in iter_json_lines(file)]
        return mean(self.tokens.texts(completions))

    def chat_frame(self, rules: Rules) -> float:
        """Mean tokens of a chat grader's request beside conversation and proposition."""
        options = GraderOptions(engine="chat", address="none", served_name="none")
        grader = make_chat_grader(options, rules, "none")
        turns = [[Message(**turn) for turn in own] for own in grader.templates().values()]
        asked = statements(rules.propositions, dict.fromkeys(rules.propositions, "examples"))
        [inside] = self.tokens.texts([asked])
        return (sum(self.tokens.prompts(turns)) - inside) / len(turns)

    def capability_data(self) -> tuple[list[CapabilityItem], list[CapabilityText]]:
        source, limit = self.context.source, self.context.settings.evaluation.capability_items
        items = read_rows(source / "capability.jsonl", CapabilityItem)[:limit]
        return items, read_rows(source / "capability_text.jsonl", CapabilityText)

    def capability_tokens(
        self, items: Sequence[CapabilityItem], texts: Sequence[CapabilityText]
    ) -> list[int]:
        """Tokens of each forward pass of a capability evaluation."""
        questions = self.tokens.texts([item.question for item in items for _ in item.choices])
        choices = self.tokens.texts([choice for item in items for choice in item.choices])
        sums = [a + b for a, b in zip(questions, choices, strict=True)]
        return [*self.tokens.texts([text.text for text in texts]), *sums]

    def lengths(self) -> Lengths:
        """Means over the workspace's own data and what its models answered."""
        context, tokens, draw = self.context, self.tokens, random.Random(0)
        rules, train = compiled_rules(context), rows.safety_prompts(context, "train")
        safety = tokens.prompts([prompt.conversation for prompt in train])
        limit, shots = context.settings.rl.max_prompt_tokens, context.settings.comparisons.examples
        asked = [
            (request, few_shot(request, rules, train, shots, draw))
            for request in requests(draw.sample(train, 24), rules, train, 0)
        ]
        options, chat = context.settings.comparisons, ChatWriterOptions(address="", served_name="")
        chat_writer = ChatWriter(
            chat,
            rules,
            options.max_new_tokens,
            options.temperature,
            0,
            self.scratch,
            context.progress,
        )
        gold = rows.gold(context, "grader")
        pairs = rows.preferences(context, "helpful_preferences", "train")[: self.count]
        preferred = [(p.conversation, text) for p in pairs for text in (p.chosen, p.rejected)]
        artifact = context.graph["rbr/sft_checkpoint"]
        demonstrations = chosen_demonstrations(replace(context, artifact=artifact))
        some = [part[: self.count] for part in self.comparisons]
        judge = sum(Tokens(context.path("judge_model")).pairs(*some))
        histories = [read_json(f / "history.json") for f in self.folders("ppo_checkpoint")]
        questions = [question_text(rule, "examples") for rule in rules.propositions.values()]

        def of_requests(conversation: Callable[..., Any]) -> float:
            turns = [conversation(*one) for one in asked]
            return mean(tokens.texts([prompt_text(tokens.tokenizer, some) for some in turns]))

        def whole(examples: Sequence[tuple[Any, str]]) -> float:
            conversations, completions = zip(*examples, strict=True)
            return tokens.both(conversations, completions) / len(examples)

        return Lengths(
            prompt=mean(safety),
            rl_prompt=mean(length for length in safety if length <= limit),
            composed=mean(tokens.texts(self.comparisons[1])),
            gold=whole([(row.conversation, row.completion) for row in gold]),
            # An answer is learnt with the end of its turn and the line break behind it.
            demonstration=whole(demonstrations) + 2,
            preference=whole(preferred) + 2,
            generated=self.answers("baseline_eval"),
            answered=self.answers("safety_eval"),
            rollout=mean(row["completions/mean_length"] for own in histories for row in own),
            request=of_requests(request_conversation),
            chat_request=of_requests(chat_writer.conversation),
            chat_frame=self.chat_frame(rules),
            question=mean(tokens.texts(questions)),
            capability=mean(self.capability_tokens(*self.capability_data())),
            judge=judge / sum(tokens.pairs(*some)),
        )

    # -- rates: operations per second --------------------------------------------------------------

    def training(
        self, rate: str, key: str, settings: Settings, work: Workload, rates: Mapping[str, float]
    ) -> tuple[float, float]:
        """The rate of a short training; seconds of starting it and loading its model."""
        run, target = FileRun(self.scratch / f"{rate}.jsonl"), self.scratch / rate
        target.mkdir()
        artifact = self.context.graph[key]
        context = replace(self.context, settings=settings, artifact=artifact, run=run)
        wall = seconds(lambda: artifact.body(context, target))
        lengths, others = work.lengths, 0.0
        if rate == "ppo":
            history = read_json(target / "history.json")
            rollout = mean(row["completions/mean_length"] for row in history)
            lengths = lengths.model_copy(update={"rollout": rollout})
        counts = count_rows(self.context.root, settings)
        work = replace(work, settings=settings, rows=counts, lengths=lengths)
        parts = [part for part in work.works() if part.artifact == key]
        if rate == "ppo":
            # Its time holds answering and grading too.
            others = sum(p.operations / rates[p.rate] for p in parts if p.rate != rate)
        own = sum(part.operations for part in parts if part.rate == rate)
        return own / (run.seconds() - others), wall - run.seconds()

    def reading(self, artifact: str, model: str, layers: int) -> tuple[float, float]:
        """Operations and seconds of a grader with heads."""
        grader = HeadGrader(self.context.path(artifact), self.context.path(model))
        some = [part[: 2 * self.count] for part in self.comparisons]
        tokens = sum(Tokens(self.context.path(model)).pairs(*some))
        grader.grade(*(part[:32] for part in some))
        took = seconds(lambda: grader.grade(*some))
        return 2 * tokens * self.shape(model).layers(layers), took

    def rewarding(self) -> tuple[float, float]:
        """Operations and seconds of R_rm."""
        model = RewardModel(self.context.path("helpful_reward_model"))
        some = [part[: self.count] for part in self.comparisons]
        layers = self.shape("base_model").layers(self.context.settings.reward_model.layers)
        return 2 * self.tokens.both(*some) * layers, seconds(lambda: model.score(*some))

    def generating(self) -> tuple[float, float]:
        """The rate of a full batch's greedy answers; seconds to load the model."""
        options, loaded = self.context.settings.evaluation, []
        path, limit = self.context.path("base_model"), options.max_new_tokens
        load = seconds(lambda: loaded.append(Generator(path, limit)))
        prompts = rows.evaluated_prompts(self.context)[: options.batch_size]
        conversations = tuple(prompt.conversation for prompt in prompts)
        loaded[0](Batch(conversations[:4], None))
        took = seconds(lambda: loaded[0](Batch(conversations, None)))
        prompt = mean(self.tokens.prompts(conversations))
        each = decoding_operations(self.shape("base_model"), prompt, limit)
        return len(conversations) * each / took, load

    def capability(self) -> float:
        items, texts = self.capability_data()
        items, texts, shape = items[:24], texts[:4], self.shape("base_model")
        took = seconds(lambda: capability(self.context.path("base_model"), items, texts))
        return 2 * sum(self.capability_tokens(items, texts)) * (shape.layers() + shape.head) / took

    def writing(self) -> float:
        """Mean seconds of an artifact that works on no model."""
        root = self.scratch / "workspace"
        (root / "data").mkdir(parents=True)
        for name in ("rules", "data/source"):
            (root / name).symlink_to(self.context.root / name)
        context = replace(self.context, root=root)

        def make() -> None:
            for name in WRITTEN:
                with replacing(context.path(name)) as output:
                    context.graph[name].body(context, output)

        return seconds(make) / len(WRITTEN)


def peak() -> float:
    """Operations per second of a large 32-bit matrix product."""
    size = 2048
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(9))


def measure(context: Context, count: int, scratch: Path) -> dict[str, Any]:
    """The file's contents."""
    bench, settings = Bench(context, count, scratch), context.settings
    policy, judge = bench.shape("base_model"), bench.shape("judge_model")
    lengths = bench.lengths()
    print(f"lengths: {lengths}", flush=True)
    generate, load = bench.generating()
    reads = bench.reading("grader", "base_model", settings.grader.tuning.layers), bench.rewarding()
    judged = bench.reading("judge", "judge_model", settings.judge.tuning.layers)
    rates = {
        "peak": peak(),
        "read": sum(operations for operations, _ in reads) / sum(took for _, took in reads),
        "generate": generate,
        "judge_read": judged[0] / judged[1],
        "capability": bench.capability(),
    }
    counts = count_rows(context.root, settings)
    work = Workload(settings, counts, lengths, policy, policy, judge, 1.0)
    for rate, (key, short) in short_trainings(settings, count).items():
        # The last is PPO, whose launch is what plans go by.
        rates[rate], launch = bench.training(rate, key, short, work, rates)
    store = context.root / ".cache" / "grades.sqlite"
    folders = [context.path(name) for name in ("synthetic_comparisons", "graded_comparisons")]
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    comparisons = sum(len(rows.comparisons(context, split)) for split in rows.SPLITS)
    names = settings.models.policy, settings.models.judge
    return {
        "profile": read_profile(context.root)[0],
        "machine": f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}, 32 bits",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "attempts": read_json(folders[0] / "metrics.json")["generated.attempts"],
        "grade_bytes": store.stat().st_size / len(GradeStore(store)),
        "row_bytes": size / comparisons,
        "models": {
            name: shape.model_dump(exclude_none=True)
            for name, shape in zip(names, (policy, judge), strict=True)
        },
        "lengths": lengths.model_dump(),
        "rates": rates,
        "overheads": {"artifact": bench.writing(), "load": load, "launch": launch},
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
    context = open_context(options.root, "rules")
    with tempfile.TemporaryDirectory() as scratch:
        found = rounded(measure(context, options.rows, Path(scratch)))
    header = "# Measured by benchmarks/rates.py; rates in floating-point operations per second.\n"
    out = options.out or context.root / PLANS / f"{found['profile']}.yaml"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(header + yaml.safe_dump(found, sort_keys=False))
    print(out.read_text())


if __name__ == "__main__":
    main()
