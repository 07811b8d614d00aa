"""Wall time of a rollout whose answers a slow server grades while others are generated.

    python -m benchmarks.async_grading [--rows 48] [--server 8] [--generation 8]

A tiny model on this machine, whose decoding steps sleep so that a rollout takes ``--generation`` seconds at
most; its answers end at different steps. A grader on loopback answers a fixed number of questions at a
time, each after a sleep, so that grading alone takes about ``--server`` seconds. Both are then waiting
rather than work, as on machines of their own. Prints JSON: seconds of generation and of grading alone, of a
rollout that grades afterwards and of one that grades as it goes; ``ratio`` is the latter over the longer of
the first two.
"""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig

from benchmarks.common import ROOT, arguments, seconds
from rbr.grading.ahead import AheadGrader
from rbr.grading.base import Grader
from rbr.grading.engines.openai import OpenAIEngine
from rbr.grading.yesno import YesNoGrader
from rbr.models.load import load_causal, load_tokenizer
from rbr.models.tiny import make_tiny
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.rules.rules import Rules, load_rules
from rbr.training.options import RLOptions
from rbr.training.policy import algorithm

STEPS, AT_ONCE = 24, 16
# Chance that an answer ends at a step.
ENDS = 0.15


class SlowGrader:
    """A completions server that answers ``AT_ONCE`` questions at a time, each after ``pause`` seconds."""

    def __init__(self, pause: float) -> None:
        gate = threading.Semaphore(AT_ONCE)
        top = {"Yes": math.log(0.6), "No": math.log(0.4)}
        choice = {"text": "Yes", "index": 0, "finish_reason": "length"}
        choice["logprobs"] = {"tokens": ["Yes"], "top_logprobs": [top]}
        answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
        content = json.dumps({**answer, "choices": [choice]}).encode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                with gate:
                    time.sleep(pause)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{server.server_port}/v1"


def sleeping(model: Any, step: float, ends: list[int]) -> None:
    """Let each decoding step take ``step`` seconds more, and answers end with the chance ``ENDS``."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        time.sleep(step)
        logits = output.logits
        logits[..., ends] = float("-inf")
        total = torch.logsumexp(logits, dim=-1)
        logits[..., ends[0]] = total + math.log(ENDS / (1 - ENDS))
        return output

    model.register_forward_hook(hook)


def rollout(
    folder: Path, rules: Rules, grader: Grader | None, rows: int, step: float
) -> tuple[float, list[float]]:
    """Seconds of one rollout of PPO with its rewards, and these; of generation alone without a grader."""
    torch.manual_seed(0)
    model = load_causal(folder / "tiny")
    tokenizer = load_tokenizer(folder / "tiny")
    kind = rules.response_types[0]
    found: list[float] = []

    class Reward:
        __name__ = "reward"

        def __init__(self) -> None:
            weights = {name: dict.fromkeys(rules.feature_names(name), 1.0) for name in rules.types}
            self.reward = RuleBasedReward(rules, weights, grader) if grader else None

        def prepare(self, prompts: Any, completions: Any, **_: Any) -> None:
            if self.reward:
                self.reward.prepare(prompts, completions, response_type=[kind] * len(prompts))

        def __call__(self, prompts: Any, completions: Any, **_: Any) -> list[float]:
            if self.reward is None:
                return [float(i) for i in range(len(prompts))]
            types = [kind] * len(prompts)
            found.extend(self.reward(prompts, completions, response_type=types))
            return found[-len(prompts) :]

    make_trainer, make_arguments = algorithm(RLOptions(trained_layers=1), 1)
    trainer = make_trainer(
        model=model,
        reward_funcs=Reward(),
        args=make_arguments(
            output_dir=str(folder / "run"), report_to="none", disable_tqdm=True, use_cpu=True, seed=0,
            per_device_train_batch_size=rows, steps_per_generation=1, num_generations=2,
            max_completion_length=STEPS, gradient_checkpointing=False, save_strategy="no",
        ),
        train_dataset=Dataset.from_list([{"prompt": f"number {i}"} for i in range(rows)]),
        processing_class=tokenizer,
    )  # fmt: skip
    assert isinstance(trainer.args, GRPOConfig)
    sleeping(model, step, list(trainer.eos_token_ids))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = next(iter(trainer.get_train_dataloader()))
    return seconds(lambda: trainer._prepare_inputs(batch)), found


def graders(folder: Path, rules: Rules, pause: float) -> Callable[[], YesNoGrader]:
    """Makes graders on a slow server."""
    server = SlowGrader(pause)

    def make() -> YesNoGrader:
        engine = OpenAIEngine(server.address, "m", folder / "tiny", concurrency=2 * AT_ONCE)
        grader = YesNoGrader(engine, rules)
        grader.load()
        return grader

    return make


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=48, help="answers of the rollout")
    parser.add_argument("--server", type=float, default=8.0, help="seconds of grading alone")
    parser.add_argument("--generation", type=float, default=8.0, help="seconds of generation")
    options = parser.parse_args()
    rules = load_rules(ROOT / "rules")
    pause = options.server * AT_ONCE / (options.rows * len(rules.proposition_names))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tiny(folder / "tiny", [f"number {i}" for i in range(500)])
        grader = graders(folder, rules, pause)
        step = options.generation / STEPS

        def run(own: Grader | None) -> tuple[float, list[float]]:
            return rollout(folder, rules, own, options.rows, step)

        run(None)  # what is loaded at first use
        generation, _ = run(None)
        afterwards, rewards = run(grader())
        ahead, same = run(AheadGrader(grader()))
    grading = afterwards - generation
    print(
        json.dumps(
            {
                "generation": round(generation, 2),
                "grading": round(grading, 2),
                "afterwards": round(afterwards, 2),
                "ahead": round(ahead, 2),
                "ratio": round(ahead / max(generation, grading), 3),
                "same_rewards": rewards == same,
            }
        )
    )


if __name__ == "__main__":
    main()
