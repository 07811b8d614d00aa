"""Decoding beside Transformers' ``generate``, in one run.

    python -m benchmarks.decode [--model smollm2] [--rows 64] [--tokens 64] [--turns 2]

Both sample the same number of tokens from the same prompts at temperature 1, in turns. ``full``: no answer
ends early; ``groups``: likewise, four rows a prompt, as in RL's rollouts; ``ending``: rows end at their own
times, drawn evenly up to the limit, as real answers do. Prints tokens per second (of answers) and ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.common import ROOT, arguments, model_folder, seconds

GROUP = 4


class Ends:
    """A choice of tokens that ends rows at given lengths, whatever the model says."""

    def __init__(self, choose: Any, lengths: list[int], end: int) -> None:
        self._choose, self._left, self._end = choose, dict(enumerate(lengths)), end

    def __call__(self, logits: Any, rows: Any) -> Any:
        logits[:, self._end] = -float("inf")
        tokens = self._choose(logits, rows)
        for place, row in enumerate(rows.tolist()):
            self._left[row] -= 1
            if not self._left[row]:
                tokens[place] = self._end
        return tokens


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()

    import torch
    from transformers import LogitsProcessor

    from rbr.data.rows import Prompt
    from rbr.files import read_rows
    from rbr.models.decode import Sampler, decode
    from rbr.models.load import chat_texts, load_causal, load_tokenizer

    folder = model_folder(options.model)
    model, tokenizer = load_causal(folder), load_tokenizer(folder)
    rows, limit = options.rows, options.tokens
    prompts = read_rows(ROOT / "data" / "source" / "safety_prompts", Prompt)[:rows]
    texts = chat_texts(tokenizer, [prompt.conversation for prompt in prompts])
    alike = [texts[i // GROUP] for i in range(rows)]
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    draws = torch.randint(1, limit + 1, (rows,), generator=torch.Generator().manual_seed(0))
    lengths = {"full": [limit] * rows, "groups": [limit] * rows, "ending": draws.tolist()}

    def ours(name: str) -> None:
        ids = tokenizer(alike if name == "groups" else texts, add_special_tokens=False)["input_ids"]
        choose = Ends(Sampler(range(rows), 1.0), lengths[name], end)
        found = decode(model, ids, limit, [end], pad, choose)
        assert [len(row.ids) for row in found] == lengths[name]

    class EndsToo(LogitsProcessor):
        def __init__(self, prompt: int, ends: list[int]) -> None:
            self._prompt, self._ends = prompt, torch.tensor(ends)

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            scores[:, end] = -float("inf")
            ends = self._ends <= input_ids.size(1) - self._prompt + 1
            scores[ends] = -float("inf")
            scores[ends, end] = 0.0
            return scores

    def theirs(name: str) -> None:
        chosen = alike if name == "groups" else texts
        encoded = tokenizer(chosen, return_tensors="pt", padding=True, add_special_tokens=False)
        length = encoded["input_ids"].size(1)
        with torch.inference_mode():
            output = model.generate(  # type: ignore[operator]
                **encoded,
                max_new_tokens=limit,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                pad_token_id=pad,
                eos_token_id=end,
                logits_processor=[EndsToo(length, lengths[name])],
            )
        assert output.size(1) == length + max(lengths[name])

    sides: dict[str, Callable[[str], None]] = {"ours": ours, "generate": theirs}
    print(
        f"{options.model}, {rows} rows, at most {limit} tokens, {torch.get_num_threads()} threads"
    )
    for name in lengths:
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.turns):
            for side, work in sides.items():
                times[side].append(seconds(partial(work, name)))
        total = sum(lengths[name])
        speeds = {side: total / statistics.median(own) for side, own in times.items()}
        ratio = speeds["ours"] / speeds["generate"]
        print(f"  {name:8}" + "".join(f" {s} {v:7.1f} tokens/s" for s, v in speeds.items()), end="")
        print(f", {ratio:.2f} x generate's", flush=True)


if __name__ == "__main__":
    main()
