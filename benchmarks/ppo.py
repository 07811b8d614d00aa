"""PPO's speed beside that of TRL 1.12's ``experimental.ppo.PPOTrainer``, in one run.

    python benchmarks/ppo.py [--models tiny smollm2] [--rollouts 4]

Both sides have the same model, batch, prompt and completion lengths, mini-batches, epochs, and the same
reward model (a random head on the same model). Completions never end early, so that both handle the
same tokens. Ours runs twice: with all layers trained, as TRL's has no other way, and with the upper third
trained, as the profiles have it. TRL 1.12 runs in an environment of its own, made under .cache/ (a layer
over this one). Sides take turns; the first rollout of each process is not counted. Prints tokens a
second (prompt and completion tokens through rollout, reward and all updates) and ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PEER = "1.12.0"
BATCH, PROMPT, COMPLETION, MINI_BATCHES, EPOCHS = 16, 32, 32, 2, 2
TOKENS = BATCH * (PROMPT + COMPLETION)


def environment() -> Path:
    """The Python of TRL 1.12's environment: this one's packages, with another TRL in front."""
    home = ROOT / ".cache" / f"trl-{PEER}"
    python = home / "bin" / "python"
    if not (home / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        found = subprocess.run([python, "-c", ask], check=True, text=True, capture_output=True)
        layer = Path(found.stdout.strip()) / "base.pth"
        layer.write_text(sysconfig.get_path("purelib") + "\n")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", f"trl=={PEER}"]
        subprocess.run(pip, check=True)
        (home / "made").touch()
    return python


def prompts(tokenizer: Any) -> list[str]:
    """Texts of exactly ``PROMPT`` tokens."""
    words = tokenizer(" ".join(f"number {i}" for i in range(500)))["input_ids"]
    starts = range(0, 4 * BATCH)
    return [tokenizer.decode(words[start : start + PROMPT]) for start in starts]


class Clock:
    """Seconds of each rollout with its updates; ``updates`` of them make a rollout."""

    def __init__(self, updates: int) -> None:
        self.updates, self.ends = updates, []

    def tick(self, done: int) -> None:
        if done % self.updates == 0:
            self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]


def timed(clock: Clock) -> Any:
    """The callback by which a trainer ticks the clock."""
    from transformers import TrainerCallback

    class Timed(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.tick(state.global_step)

    return Timed()


def scored(model: Path) -> Any:
    """The reward model: a random head over the same model."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    found = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    return found.eval().requires_grad_(False)


def ours(model: Path, rollouts: int, trained: float) -> list[float]:
    """Seconds a rollout of this project's trainer; ``trained`` is the share of layers trained."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback

    from rbr.models.load import load_causal, load_tokenizer
    from rbr.models.trunk import train_upper_layers
    from rbr.training.ppo import PPOConfig, PPOTrainer

    clock = Clock(MINI_BATCHES * EPOCHS)

    policy, tokenizer = load_causal(model), load_tokenizer(model)
    layers = policy.config.num_hidden_layers
    trunk = train_upper_layers(policy, max(1, round(layers * trained)))
    judge = scored(model)

    def reward(prompts: Any, completions: Any, completion_ids: Any, **_: Any) -> list[float]:
        texts = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
        ids = torch.cat([texts["input_ids"], torch.tensor(completion_ids)], dim=1)
        with torch.no_grad():
            hidden = judge.base_model(input_ids=ids).last_hidden_state[:, -1]
            return judge.score(hidden)[:, 0].tolist()  # type: ignore[no-any-return]

    with tempfile.TemporaryDirectory() as folder:
        arguments = PPOConfig(
            output_dir=folder,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
            gradient_checkpointing=False,
            per_device_train_batch_size=BATCH // MINI_BATCHES,
            steps_per_generation=MINI_BATCHES,
            num_iterations=EPOCHS,
            num_generations=2,
            max_steps=rollouts * clock.updates,
            max_completion_length=COMPLETION,
            generation_kwargs={"min_new_tokens": COMPLETION},
            learning_rate=1e-6,
            trunk_layers=trunk,
        )
        trainer = PPOTrainer(
            model=policy,
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": text} for text in prompts(tokenizer)]),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(timed(clock))
        trainer.train()
    return clock.seconds()


def peers(model: Path, rollouts: int) -> list[float]:
    """Seconds a rollout of TRL 1.12's trainer."""
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        PrinterCallback,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    clock = Clock(1)

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    policy, reference = (AutoModelForCausalLM.from_pretrained(model) for _ in range(2))
    policy.generation_config.eos_token_id = None
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in prompts(tokenizer)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = PPOConfig(
            output_dir=folder,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            gradient_checkpointing=False,
            per_device_train_batch_size=BATCH // MINI_BATCHES,
            gradient_accumulation_steps=MINI_BATCHES,
            num_mini_batches=MINI_BATCHES,
            num_ppo_epochs=EPOCHS,
            local_rollout_forward_batch_size=BATCH,
            total_episodes=rollouts * BATCH,
            response_length=COMPLETION,
            num_sample_generations=0,
            learning_rate=1e-6,
        )
        trainer = PPOTrainer(
            args=arguments,
            processing_class=tokenizer,
            model=policy,
            ref_model=reference,
            reward_model=scored(model),
            value_model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=1),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:BATCH]),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(timed(clock))
        trainer.train()
    return clock.seconds()


SIDES = ("ours, all layers", "ours, upper third", f"trl {PEER}")


def measure(side: str, model: Path, rollouts: int) -> list[float]:
    """Run a side in a process of its own."""
    python = environment() if side == SIDES[2] else Path(sys.executable)
    asked = [str(python), __file__, "--side", side, "--folder", str(model)]
    found = subprocess.run(
        [*asked, "--rollouts", str(rollouts)], text=True, capture_output=True, check=False
    )
    if found.returncode:
        raise SystemExit(f"{side}: {found.stderr[-3000:]}")
    return list(json.loads(found.stdout.strip().splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny", "smollm2"])
    parser.add_argument("--rollouts", type=int, default=4, help="a process; the first is warm-up")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        trained = {SIDES[0]: 1.0, SIDES[1]: 1 / 3}.get(options.side)
        run = peers(options.folder, options.rollouts) if trained is None else None
        print(json.dumps(run or ours(options.folder, options.rollouts, trained or 1.0)))
        return
    from benchmarks.embedded import model_folder
    from rbr.models.tiny import make_tiny

    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            texts = [f"number {i}" for i in range(500)]
            model = (
                make_tiny(Path(folder) / "tiny", texts) if name == "tiny" else model_folder(name)
            )
            found: dict[str, list[float]] = {side: [] for side in SIDES}
            for _ in range(options.turns):
                for side in SIDES:
                    found[side] += measure(side, model, options.rollouts)
        print(
            f"{name}: {BATCH} x ({PROMPT} + {COMPLETION}) tokens, {MINI_BATCHES} x {EPOCHS} updates"
        )
        speed = {side: TOKENS / statistics.median(times) for side, times in found.items()}
        for side in SIDES:
            low, high = TOKENS / max(found[side]), TOKENS / min(found[side])
            print(f"  {side:18} {speed[side]:8.1f} tokens/s ({low:.1f} to {high:.1f})")
        for side in SIDES[:2]:
            print(f"  {side} / {SIDES[2]}: {speed[side] / speed[SIDES[2]]:.2f}")


if __name__ == "__main__":
    main()
