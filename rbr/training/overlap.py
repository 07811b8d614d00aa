"""Grading that overlaps generation: answers are handed to the reward as soon as they are finished.

A reward function with a method ``prepare`` (called as it is itself, with a part of the batch) hears of
answers while others of the rollout are still being generated; see ``rbr.grading.ahead``. It is called for
the whole rollout as ever, so the rewards are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from rbr.models.decode import Finished


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
                trainer.finished = hand_over
                stack.callback(setattr, trainer, "finished", None)
            result = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[misc]
        if prepared:  # the others, of no end token or a server: graded while tokens are evaluated
            for row, ids in enumerate(result[0]):
                hand_over(row, ids)
        return result


@contextmanager
def _stepping(
    generation: Any, prompt_ids: Sequence[Sequence[int]], hand_over: Finished
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
