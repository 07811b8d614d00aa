"""How fast the grader's engines are beside each other, in one run.

    python -m benchmarks.grading [--rows 8] [--model smollm2] [--vllm-python .venv-vllm/bin/python]

Grades the same answers, all 23 propositions each, by: one full prompt per proposition (``apart``), all
questions behind one shared prefix (``transformers``), a head on hidden states (``head``, random heads:
the cost is the same), and vLLM where it is installed. Prints seconds per answer and ratios, loading
left out. The conversations are the longest gold rows: their prefix is what production has.

    python -m benchmarks.grading --tokens [--rows 40] [--chat http://127.0.0.1:8000/v1]

Tokens an answer of the ``chat`` engine: one proposition a request, eight, and all at once. Without a
server prompts are counted by the model's tokenizer (all rows of gold, a short reason for each verdict);
of a server (``--chat``) its own counts and seconds are printed.
"""

from __future__ import annotations

import argparse
import json
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


GROUPS: dict[str, int | str] = {"one each": 1, "eight": 8, "all at once": "all"}
REASON = "The answer says so in its first sentence."


def counted(model: Path, count: int, wording: str) -> dict[str, tuple[float, float, float]]:
    """Tokens an answer of each grouping: prompt, those of them behind the cached rules, completion."""
    from rbr.data.rows import Labelled
    from rbr.files import read_rows
    from rbr.grading.chat.styles import StatementStyle
    from rbr.grading.options import ChatOptions

    rules, tokens = load_rules(ROOT / "rules"), Tokens(model)
    names = rules.proposition_names
    rows = read_rows(ROOT / "data" / "source" / "gold", Labelled)
    rows = rows[:: max(1, len(rows) // count)][:count]
    style = StatementStyle(rules, dict.fromkeys(names, wording), ChatOptions())  # type: ignore[arg-type]
    found = {}
    for title, group in GROUPS.items():
        size = len(names) if group == "all" else int(group)
        prompt = fresh = completion = 0
        for row in rows:
            for start in range(0, len(names), size):
                some = names[start : start + size]
                turns = style.messages(row.conversation, row.completion, some)
                system, user = tokens.texts([turn["content"] for turn in turns])
                said = {name: {"verdict": True, "reason": REASON} for name in some}
                answer = json.dumps(said if len(some) > 1 else said[some[0]])
                prompt, fresh = prompt + system + user, fresh + user
                completion += tokens.texts([answer])[0]
        found[title] = (prompt / len(rows), fresh / len(rows), completion / len(rows))
    return found


def served(address: str, count: int) -> dict[str, tuple[float, float, float, float]]:
    """Tokens and seconds an answer of a real server: prompt, not cached, completion, seconds."""
    from rbr.grading.load import make_chat_grader, served_model
    from rbr.grading.options import GraderOptions

    conversations, completions = texts_of(longest_gold(count))
    found = {}
    for title, group in GROUPS.items():
        options = GraderOptions(
            engine="chat", served_name=served_model(address), timeout=600, chat={"group": group}
        )
        grader = make_chat_grader(options, load_rules(ROOT / "rules"), "", [address])
        wall = seconds(lambda grader=grader: grader.grade(conversations, completions))
        used = grader.usage
        of = (used.prompt, used.prompt - used.cached, used.completion, wall)
        found[title] = tuple(value / count for value in of)
    return found


def print_tokens(options: argparse.Namespace) -> None:
    """Tokens an answer, and how many times fewer than by one question each."""
    if options.chat:
        measured = served(options.chat, options.rows)
    else:
        measured = counted(model_folder(options.model), options.rows, options.wording)
    first = measured["one each"]
    for title, (prompt, fresh, completion, *wall) in measured.items():
        total, fewer = prompt + completion, (first[0] + first[2]) / (prompt + completion)
        new = (first[1] + first[2]) / (fresh + completion)
        print(
            f"{title:<12}{total:8.0f} tokens an answer ({prompt:.0f} prompt, {completion:.0f} completion),"
            f" {fewer:5.2f} x fewer; {fresh + completion:.0f} not cached, {new:5.2f} x fewer"
            + (f"; {wall[0]:.2f} s, {first[3] / wall[0]:.2f} x as fast" if wall else "")
        )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", action="store_true", help="tokens an answer of the chat engine")
    parser.add_argument("--chat", help="address of a chat server to measure them on")
    parser.add_argument(
        "--wording", default="examples", help="of the rules, where they are counted"
    )
    parser.add_argument("--model", default="smollm2", help="tiny, an embedded model, or a folder")
    parser.add_argument("--vllm-python", type=Path, default=ROOT / ".venv-vllm/bin/python")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tokens:
        print_tokens(options)
        return
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
