"""PPO's speed beside that of TRL 1.12's ``experimental.ppo.PPOTrainer``, in one run.

    python -m benchmarks.ppo [--models tiny smollm2] [--rollouts 4] [--turns 2]

Both sides have the same model, batch, prompt and completion lengths, mini-batches, epochs, and the same
reward model (a random head on the same model). Completions never end early, so that both handle the
same tokens. Ours runs with all layers trained, as TRL's has no other way; with the upper third; and with
adapters (LoRA of rank 16) on all layers, and on the upper third, as the profiles have it. TRL 1.12 is installed under .cache/, for its own
processes alone. Sides take turns; the first rollout of each process is not counted. Prints tokens per
second (prompt and completion tokens through rollout, reward and all updates) and ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, arguments, model_folder, run_apart

PEER = "1.12.0"
# Side -> share of the layers that are trained, and whether by adapters; None for TRL's trainer.
SIDES = {
    "ours, all layers": (1.0, False),
    "ours, upper third": (1 / 3, False),
    "ours, LoRA on all": (1.0, True),
    "ours, LoRA on third": (1 / 3, True),
    f"trl {PEER}": None,
}
BATCH, PROMPT, COMPLETION, MINI_BATCHES, EPOCHS = 16, 32, 32, 2, 2
TOKENS = BATCH * (PROMPT + COMPLETION)
SHARED = {
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "save_strategy": "no",
    "gradient_checkpointing": False,
    "per_device_train_batch_size": BATCH // MINI_BATCHES,
    "learning_rate": 1e-6,
}


def peer_packages() -> Path:
    """A folder with TRL 1.12, to be put before this environment's packages."""
    folder = ROOT / ".cache" / f"trl-{PEER}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"trl=={PEER}"]
    if not (folder / "trl").exists():
        subprocess.run([*pip, "--target", str(folder)], check=True)
    return folder


def prompts(tokenizer: Any) -> list[str]:
    """Texts of exactly ``PROMPT`` tokens."""
    words = tokenizer(" ".join(f"number {i}" for i in range(500)))["input_ids"]
    return [tokenizer.decode(words[start : start + PROMPT]) for start in range(4 * BATCH)]


def reward_model(model: Path) -> Any:
    """A random head over the same model."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    found = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    return found.eval().requires_grad_(False)


def timed(trainer: Any, updates: int) -> list[float]:
    """Train, and return the seconds of each rollout with its ``updates``, the first left out."""
    from transformers import PrinterCallback, TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % updates == 0:
                ends.append(time.perf_counter())

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    return [end - start for start, end in itertools.pairwise(ends)]


def ours(model: Path, rollouts: int, trained: float, adapters: bool, output: str) -> list[float]:
    """Seconds per rollout of this project's trainer; ``trained`` is the share of layers trained."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig

    from rbr.models.load import load_causal, load_tokenizer
    from rbr.training.adapters import train_part
    from rbr.training.options import LoRAOptions, RLOptions
    from rbr.training.ppo import PPOTrainer

    updates = MINI_BATCHES * EPOCHS
    policy, tokenizer, scorer = load_causal(model), load_tokenizer(model), reward_model(model)
    layers = max(1, round(policy.config.num_hidden_layers * trained))
    policy, trunk = train_part(policy, layers, LoRAOptions() if adapters else None)

    def reward(prompts: Any, completions: Any, completion_ids: Any, **_: Any) -> list[float]:
        texts = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
        ids = torch.cat([texts["input_ids"], torch.tensor(completion_ids)], dim=1)
        with torch.no_grad():
            hidden = scorer.base_model(input_ids=ids).last_hidden_state[:, -1]
            return scorer.score(hidden)[:, 0].tolist()  # type: ignore[no-any-return]

    settings = GRPOConfig(
        output_dir=output,
        steps_per_generation=MINI_BATCHES,
        num_iterations=EPOCHS,
        num_generations=2,
        max_steps=rollouts * updates,
        max_completion_length=COMPLETION,
        **SHARED,
    )
    trainer = PPOTrainer(
        model=policy,
        reward_funcs=reward,
        args=settings,
        options=RLOptions(),
        trunk_layers=trunk,
        train_dataset=Dataset.from_list([{"prompt": text} for text in prompts(tokenizer)]),
        processing_class=tokenizer,
    )
    trainer.eos_token_ids = [-1]  # no completion ends
    return timed(trainer, updates)


def peers(model: Path, rollouts: int, output: str) -> list[float]:
    """Seconds per rollout of TRL 1.12's trainer."""
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    policy, reference = (AutoModelForCausalLM.from_pretrained(model) for _ in range(2))
    policy.generation_config.eos_token_id = None
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in prompts(tokenizer)]
    settings = PPOConfig(
        output_dir=output,
        bf16=False,
        gradient_accumulation_steps=MINI_BATCHES,
        num_mini_batches=MINI_BATCHES,
        num_ppo_epochs=EPOCHS,
        local_rollout_forward_batch_size=BATCH,
        total_episodes=rollouts * BATCH,
        response_length=COMPLETION,
        num_sample_generations=0,
        **SHARED,
    )
    trainer = PPOTrainer(
        args=settings,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward_model(model),
        value_model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=1),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:BATCH]),
    )
    return timed(trainer, 1)


def measure(side: str, model: Path, rollouts: int) -> list[float]:
    """Seconds per rollout of a side, in a process of its own."""
    environment = {} if SIDES[side] else {"PYTHONPATH": str(peer_packages())}
    command = ["benchmarks.ppo", "--side", side, "--models", str(model)]
    return list(run_apart(*command, "--rollouts", str(rollouts), environment=environment))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=["tiny", "smollm2"])
    parser.add_argument("--rollouts", type=int, default=4, help="per process; the first is warm-up")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        model, trained = Path(options.models[0]), SIDES[options.side]
        with tempfile.TemporaryDirectory() as output:
            if trained is None:
                found = peers(model, options.rollouts, output)
            else:
                found = ours(model, options.rollouts, *trained, output)
        print(json.dumps(found))
        return
    for name in options.models:
        model = model_folder(name)
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(options.turns):
            for side, own in times.items():
                own += measure(side, model, options.rollouts)
        print(
            f"{name}: {BATCH} x ({PROMPT} + {COMPLETION}) tokens, {MINI_BATCHES} x {EPOCHS} updates"
        )
        peer = statistics.median(times[f"trl {PEER}"])
        for side, own in times.items():
            speed, ratio = TOKENS / statistics.median(own), peer / statistics.median(own)
            spread = f"{TOKENS / max(own):.1f} to {TOKENS / min(own):.1f}"
            print(f"  {side:20} {speed:8.1f} tokens/s ({spread}), {ratio:.2f} x trl's")


if __name__ == "__main__":
    main()
