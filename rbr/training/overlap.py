"""Grading that overlaps generation: answers are handed to the reward as soon as they are finished.

A reward function with a method ``prepare`` (called as it is itself, with a part of the batch) hears of
answers while others of the rollout are still being generated; see ``rbr.grading.ahead``. It is called for
the whole rollout as ever, so the rewards are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

# Of a row of the batch, and the ids of its answer.
HandOver = Callable[[int, Sequence[int]], None]


class FinishedAnswers(StoppingCriteria):
    """Stops no generation; hands over each row of its batch once an end token follows the prompt."""

    def __init__(self, ends: Sequence[int], hand_over: HandOver) -> None:
        self._ends = ends
        self._hand_over = hand_over
        self._open: torch.Tensor | None = None
        self._start = 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if self._open is None:  # called after each token, the first time after the first
            self._open = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
            self._start = input_ids.size(1) - 1
        ends = torch.tensor(self._ends, device=input_ids.device)
        ended = torch.isin(input_ids[:, -1], ends) & self._open
        self._open &= ~ended
        for row in ended.nonzero().flatten().tolist():
            self._hand_over(row, input_ids[row, self._start :].tolist())
        return torch.zeros_like(ended)


class GradesAhead:
    """Mixin of TRL's trainers whose rollouts call ``_generate_single_turn``: see the module."""

    _rows: Sequence[dict[str, Any]] = ()

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self._rows = inputs
        return super()._generate_and_score_completions(inputs)  # type: ignore[misc]

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        trainer: Any = self
        prepared = [func.prepare for func in trainer.reward_funcs if hasattr(func, "prepare")]
        if len(prompt_ids) != len(self._rows):  # a later turn of some rows, after calls of tools
            prepared = []

        def hand_over(row: int, ids: Sequence[int]) -> None:
            prompt, columns = self._rows[row]["prompt"], dict(self._rows[row])
            del columns["prompt"]
            [text] = trainer.processing_class.batch_decode([ids], skip_special_tokens=True)
            answer = text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
            for prepare in prepared:
                prepare([prompt], [answer], **{name: [value] for name, value in columns.items()})

        with ExitStack() as stack:
            if prepared and trainer.use_vllm:
                stack.enter_context(_stepping(trainer.vllm_generation, prompt_ids, hand_over))
            elif prepared:
                model = trainer.accelerator.unwrap_model(trainer.model)
                criterion = FinishedAnswers(trainer.eos_token_ids, hand_over)
                stack.enter_context(_generating(model, criterion))
            result = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[misc]
        if prepared:  # the others, of no end token or a server: graded while tokens are evaluated
            for row, ids in enumerate(result[0]):
                hand_over(row, ids)
        return result


@contextmanager
def _generating(model: Any, criterion: StoppingCriteria) -> Iterator[None]:
    """TRL passes no stopping criteria to ``generate``: while the block runs, this one is passed."""
    generate = model.generate

    def watched(*args: Any, **kwargs: Any) -> Any:
        return generate(*args, stopping_criteria=StoppingCriteriaList([criterion]), **kwargs)

    model.generate = watched
    try:
        yield
    finally:
        del model.generate


@contextmanager
def _stepping(
    generation: Any, prompt_ids: Sequence[Sequence[int]], hand_over: HandOver
) -> Iterator[None]:
    """The same of a vLLM in this process, each of whose steps returns what it finished.

    Of a server's (``rl.vllm: server``) the answers come all together.
    """
    engine = getattr(getattr(generation, "llm", None), "llm_engine", None)
    if engine is None:
        yield
        return
    # Rows of one prompt are alike in all but their answers.
    rows = {tuple(ids): row for row, ids in enumerate(prompt_ids)}
    step = engine.step

    def watched() -> Any:
        outputs = step()
        for output in outputs:
            row = rows.get(tuple(output.prompt_token_ids or ()))
            if output.finished and row is not None:  # not another process's
                hand_over(row, output.outputs[0].token_ids)
        return outputs

    engine.step = watched
    try:
        yield
    finally:
        del engine.step
