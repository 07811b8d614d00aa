"""One accelerator, in at most five minutes: generation, grading, trainings, and the memory that they take.

    python -m benchmarks.gpu [--shape 135m] [--model FOLDER] [--minutes 5]

Needs neither a hub nor a workspace: the model has random weights of a shape (``tiny``, ``135m``, ``1.7b``,
``8b``), or is a folder's. Answers never end early, so that all sides handle the same tokens. Each part is
run once to warm up and then timed; parts for which no time is left are named. Ratios are to plain
Transformers in the same numbers, and of PPO to TRL's GRPOTrainer on the same model and batch. ``of peak``
is the share of what a large matrix product reaches in bfloat16 (float32 on the CPU), by two operations a
parameter and token forward, six in training. Peak memory stands beside that of ``rbr plan``.
"""

from __future__ import annotations

import gc
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, arguments, seconds

SHAPES = {
    "tiny": (64, 128, 4, 4, 2, 1000),
    "135m": (576, 1536, 30, 9, 3, 49152),
    "1.7b": (2048, 8192, 24, 32, 32, 49152),
    "8b": (4096, 14336, 32, 32, 8, 128256),
}
PROMPT_WORDS = 40
GROUP, MINI_BATCHES, EPOCHS = 4, 2, 2


@dataclass(frozen=True)
class Sizes:
    """Rows of a part's batch, and tokens of an answer."""

    rows: int
    tokens: int


class Bench:
    """A model, its device, and what is left of the time."""

    def __init__(self, folder: Path, sizes: Sizes, minutes: float) -> None:
        import torch

        from rbr.models.device import half_precision, step_device
        from rbr.models.load import load_tokenizer

        self.folder, self.sizes, self.end = folder, sizes, time.monotonic() + 60 * minutes
        self.device, self.half = step_device(), half_precision()
        self.tokenizer = load_tokenizer(folder)
        words = [f"word{i}" for i in range(PROMPT_WORDS)]
        self.prompts = [f"{i} {' '.join(words)}" for i in range(sizes.rows)]
        self.dtypes = [torch.float32, *([torch.bfloat16] if self.half or sizes.rows < 8 else [])]
        self.peak = self._peak()

    def _peak(self) -> float:
        """Operations per second of a large matrix product."""
        import torch

        size = 8192 if self.half else 1024
        a = torch.randn(size, size, device=self.device)
        a = a.bfloat16() if self.half else a
        work = self.synchronized(lambda: a @ a)
        work()
        return 2 * size**3 / min(seconds(work) for _ in range(3))

    def synchronized(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The work, until the device has done it."""
        import torch

        def run() -> Any:
            found = work()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return found

        return run

    def speed(self, amount: float, work: Callable[[], Any]) -> float:
        """Amount per second, after one run to warm up."""
        run = self.synchronized(work)
        run()
        return amount / seconds(run)

    @contextmanager
    def part(self, name: str) -> Iterator[bool]:
        """A part: whether there is time for it; an error is told, and the next part runs."""
        left = self.end - time.monotonic()
        if left < 5:
            print(f"{name}: left out, no time")
        try:
            yield left >= 5
        except Exception as error:
            print(f"{name}: failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
        gc.collect()
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def build(shape: str, folder: Path) -> Path:
    """A model of a shape with random weights, in bfloat16 where the device has it, and a small tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rbr.models.device import reading_dtype, step_device
    from rbr.models.load import load_tokenizer
    from rbr.models.tiny import make_tiny

    hidden, inner, layers, heads, groups, vocabulary = SHAPES[shape]
    make_tiny(folder / "tiny", [f"word{i} number {i}" for i in range(500)])
    tokenizer = load_tokenizer(folder / "tiny")
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, vocab_size=max(vocabulary, len(tokenizer)), tie_word_embeddings=shape != "8b",
        max_position_embeddings=4096, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(step_device()):
        model = LlamaForCausalLM(config).to(reading_dtype())
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def generation(bench: Bench) -> None:
    """Tokens of answers a second: plain Transformers, this project's decoding, vLLM."""
    from rbr.models.decode import decode
    from rbr.models.load import load_causal

    sizes = bench.sizes
    amount = sizes.rows * sizes.tokens
    ids = bench.tokenizer(bench.prompts, add_special_tokens=False)["input_ids"]
    encoded = bench.tokenizer(
        bench.prompts, return_tensors="pt", padding=True, add_special_tokens=False
    )
    for dtype in bench.dtypes:
        name = str(dtype).removeprefix("torch.")
        model = load_causal(bench.folder, dtype=dtype).to(bench.device)
        base = 0.0
        with bench.part(f"generation, transformers, {name}") as there_is_time:
            if there_is_time:
                inputs = encoded.to(bench.device)
                limits = {"max_new_tokens": sizes.tokens, "min_new_tokens": sizes.tokens}

                def plain(model: Any = model, inputs: Any = inputs, limits: Any = limits) -> Any:
                    return model.generate(**inputs, **limits, do_sample=False)

                base = bench.speed(amount, plain)
                share = 2 * model.num_parameters() * base / bench.peak
                print(f"generation, transformers, {name}: {base:.0f} tokens/s, {share:.2%} of peak")
        with bench.part(f"generation, rbr, {name}") as there_is_time:
            if there_is_time:

                def ours(model: Any = model) -> Any:
                    return decode(model, ids, sizes.tokens, [], bench.tokenizer.pad_token_id)

                found = bench.speed(amount, ours)
                ratio = f", {found / base:.2f} x transformers'" if base else ""
                print(f"generation, rbr, {name}: {found:.0f} tokens/s{ratio}")
        del model
    with bench.part("generation, vLLM") as there_is_time:
        if importlib.util.find_spec("vllm") is None:
            print("generation, vLLM: not installed")
        elif there_is_time:
            from vllm import LLM, SamplingParams

            engine = LLM(model=str(bench.folder), gpu_memory_utilization=0.4)
            sampling = SamplingParams(
                max_tokens=sizes.tokens, min_tokens=sizes.tokens, temperature=0
            )
            prompts = [{"prompt_token_ids": row} for row in ids]
            found = bench.speed(amount, lambda: engine.generate(prompts, sampling, use_tqdm=False))
            print(f"generation, vLLM: {found:.0f} tokens/s")


def grading(bench: Bench, folder: Path) -> None:
    """Answers a second: heads on the lower layers, and one yes/no question a proposition."""
    from benchmarks.common import random_head
    from rbr.data.rows import Message
    from rbr.grading.engines.transformers import TransformersEngine
    from rbr.grading.yesno import YesNoGrader
    from rbr.rules.rules import load_rules

    rows = 4 * bench.sizes.rows
    conversations = [
        (Message(role="user", content=bench.prompts[i % bench.sizes.rows]),) for i in range(rows)
    ]
    answers = [f"{i} {bench.prompts[i % bench.sizes.rows]}" for i in range(rows)]
    rules = load_rules(ROOT / "rules")
    graders: dict[str, Callable[[], Any]] = {
        "heads": lambda: random_head(bench.folder, folder),
        "yes/no questions": lambda: YesNoGrader(TransformersEngine(bench.folder), rules),
    }
    for name, make in graders.items():
        with bench.part(f"grading, {name}") as there_is_time:
            if there_is_time:
                grader = make()
                count = rows if name == "heads" else max(1, rows // 8)
                found = bench.speed(
                    count, lambda g=grader, n=count: g.grade(conversations[:n], answers[:n])
                )
                print(
                    f"grading, {name}: {found:.1f} answers/s, {len(rules.proposition_names)} each"
                )


class Clock:
    """A callback's clock: seconds from one update to the last."""

    def __new__(cls, every: int) -> Any:
        from transformers import TrainerCallback

        class Times(TrainerCallback):
            times: list[float]

            def on_train_begin(self, *_: Any, **__: Any) -> None:
                self.times = []

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step % every == 0:
                    self.times.append(time.perf_counter())

        return Times()


def trainings(bench: Bench, folder: Path) -> None:
    """Tokens a second of fine-tuning and of PPO, GRPO's beside it, and the memory of each."""
    from rbr.data.rows import HelpfulPrompt, Message
    from rbr.training.options import RLOptions, SFTOptions
    from rbr.training.policy import train_policy
    from rbr.training.sft import train_sft

    sizes = bench.sizes
    talks = [(Message(role="user", content=prompt),) for prompt in bench.prompts]
    prompt_tokens = sum(len(bench.tokenizer(p)["input_ids"]) for p in bench.prompts) / sizes.rows
    micro = max(1, sizes.rows // 4)
    sft = SFTOptions(
        trained_layers=None, batch_size=sizes.rows, micro_batch=micro, epochs=3.0, max_length=1024
    )
    with bench.part("SFT") as there_is_time:
        if there_is_time:
            clock = Clock(1)
            rows = [(talk, prompt) for talk, prompt in zip(talks, bench.prompts, strict=True)] * 4
            train_sft(bench.folder, rows, folder / "sft-run", folder / "sft", sft, 0, [clock])
            tokens = 2 * prompt_tokens * sizes.rows
            report(bench, "SFT", tokens * (len(clock.times) - 1), clock, "sft", sft)
    rl = RLOptions(
        steps=3, prompts_per_step=sizes.rows, group_size=GROUP, epochs=EPOCHS, mini_batches=MINI_BATCHES,
        micro_batch=micro, max_new_tokens=sizes.tokens, max_prompt_tokens=1024, trained_layers=None,
        max_kl=1e9,
    )  # fmt: skip
    prompts = [HelpfulPrompt(id=f"p{i}", family="f", conversation=t) for i, t in enumerate(talks)]
    speeds = {}
    for name in ("GRPO of TRL", "PPO"):
        with bench.part(name) as there_is_time:
            if there_is_time:
                clock = Clock(MINI_BATCHES * EPOCHS)
                if name == "PPO":
                    train_policy(
                        bench.folder, [], prompts, lengths, folder / "run", folder / "ppo", rl, 0, [clock]
                    )  # fmt: skip
                else:
                    peer(bench, rl, folder / "peer", clock)
                amount = sizes.rows * (prompt_tokens + sizes.tokens) * (len(clock.times) - 1)
                speeds[name] = report(bench, name, amount, clock, "rl", rl)
    if len(speeds) == 2:
        print(f"PPO: {speeds['PPO'] / speeds['GRPO of TRL']:.2f} x TRL's GRPO")


def lengths(completions: Any, **_: Any) -> list[float]:
    """A reward that costs nothing."""
    return [float(len(str(completion))) for completion in completions]


def peer(bench: Bench, rl: Any, output: Path, clock: Any) -> None:
    """TRL's GRPOTrainer as it comes, with the same adapters, batch and updates."""
    import trl
    from datasets import Dataset

    from rbr.models.device import reading_dtype
    from rbr.models.load import load_causal
    from rbr.training.adapters import train_part
    from rbr.training.policy import shared_arguments

    model, _ = train_part(
        load_causal(bench.folder, dtype=reading_dtype()), rl.trained_layers, rl.lora
    )
    prompts = [{"prompt": [{"role": "user", "content": text}]} for text in bench.prompts]
    settings = trl.GRPOConfig(**shared_arguments(rl, output, 0), beta=rl.kl_coefficient)
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=lengths,
        args=settings,
        train_dataset=Dataset.from_list(prompts * rl.steps),
        processing_class=bench.tokenizer,
        callbacks=[clock],
    )
    trainer.train()


def report(bench: Bench, name: str, tokens: float, clock: Any, section: str, options: Any) -> float:
    """Print a training's speed, and its memory beside the plan's; returns tokens a second."""
    import torch

    speed = tokens / (clock.times[-1] - clock.times[0])
    memory = ""
    if bench.device.type == "cuda":
        used, planned = torch.cuda.max_memory_allocated(), plan(bench, section, options)
        memory = f", {used / 1e9:.1f} GB at most, planned {planned / 1e9:.1f} GB"
    print(f"{name}: {speed:.0f} tokens/s{memory}")
    return speed


def plan(bench: Bench, section: str, options: Any) -> float:
    """Bytes that ``rbr plan`` gives for a training of the benchmark, without reward model and grader."""
    import torch

    from orchestration.planning.inputs import Device, Shape, Target
    from orchestration.planning.memory import ppo_memory, sft_memory
    from pipeline.profile import Launch, Settings
    from rbr.files import read_json

    shape = Shape.model_validate(read_json(bench.folder / "config.json"))
    memory = float(torch.cuda.get_device_properties(bench.device).total_memory)
    device = Device(name="here", flops=bench.peak, bandwidth=1.0, memory=memory)
    target = Target(
        profile="here", measured="", device=device, training_devices=1, grader_devices=1, policy=shape,
        grader=shape,
    )  # fmt: skip
    settings = Settings(launch=Launch(processes=1), **{section: options})
    parts = (sft_memory if section == "sft" else ppo_memory)(settings, target)
    return sum(size for part, size in parts.items() if part not in ("reward model", "grader"))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="135m")
    parser.add_argument("--model", type=Path, help="a model's folder, instead of a shape")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rbr-gpu-") as work:
        folder = options.model or build(options.shape, Path(work))
        bench = Bench(folder, Sizes(options.rows, options.tokens), options.minutes)
        print(
            f"{options.model or options.shape} on {bench.device}: {bench.peak / 1e12:.2f} Tflop/s"
        )
        generation(bench)
        grading(bench, Path(work) / "head")
        trainings(bench, Path(work))


if __name__ == "__main__":
    main()
