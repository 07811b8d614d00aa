"""Who writes the completions that are asked for: the policy model here, or a chat model on a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rbr.comparisons.conditioned import Examples, request_conversation
from rbr.data.rows import Conversation, Message
from rbr.files import digest_of

if TYPE_CHECKING:
    from rbr.comparisons.compose import Draft
    from rbr.scale.options import ClusterOptions

# Called with the name of a task; returns a callback of (done, total).
Progress = Callable[[str], Callable[[int, int], None]]


class Writer(Protocol):
    """Writes completions on request."""

    def conversation(self, request: Draft, examples: Examples) -> Sequence[Message]:
        """What is asked for a request.

        Args:
            examples: answers to other prompts that have nearly the wanted propositions.
        """
        ...

    def write(self, conversations: Sequence[Conversation], attempt: int) -> list[str]:
        """Answers in the order of ``conversations``; '' where there is none to use.

        Finished answers of a process that was killed are not asked for again.

        Args:
            attempt: from 0; samples differ by it.
        """
        ...


def log_of(folder: Path, conversations: Sequence[Conversation], attempt: int) -> Path:
    """Where finished answers to these conversations are kept."""
    turns = [[m.model_dump() for m in conversation] for conversation in conversations]
    return folder / f"{digest_of(turns, attempt)}.jsonl"


@dataclass(frozen=True)
class LocalWriter:
    """A ``Writer``: a model in this process, or on the cluster.

    It is told the names of the wanted propositions. Their wording is left to the grader: else an edit of it
    would change what the policy is trained on.

    Attributes:
        checkpoints: folder for unfinished work.
    """

    model_folder: Path
    max_new_tokens: int
    batch_size: int
    temperature: float
    seed: int
    checkpoints: Path
    progress: Progress
    scale: ClusterOptions | None = None

    def conversation(self, request: Draft, examples: Examples) -> Sequence[Message]:
        """See ``Writer``: the prompt's own turns, after instructions and examples."""
        return request_conversation(request, examples)

    def write(self, conversations: Sequence[Conversation], attempt: int) -> list[str]:
        """See ``Writer``."""
        from rbr.models.generate import generate

        answers = generate(
            self.model_folder,
            conversations,
            self.max_new_tokens,
            self.batch_size,
            kept=log_of(self.checkpoints, conversations, attempt),
            progress=self.progress(f"generating comparisons, attempt {attempt + 1}"),
            sample_seed=self.seed + 1000 * attempt,
            temperature=self.temperature,
            scale=self.scale,
        )
        return [answer.text for answer in answers]
