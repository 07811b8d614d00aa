"""The ``head`` engine: logistic heads on a middle layer of the frozen policy model.

The cheapest grader: one run of half the layers grades all propositions of a completion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rbr.grading.base import Conversation, Probabilities, Progress
from rbr.grading.heads import Array, Heads


class StateFeatures:
    """Pooled hidden states after ``layer`` decoder layers.

    Per completion: the mean over its tokens, its last token's state, and the mean over the prompt's,
    of shape (n, 3 * hidden).
    """

    def __init__(self, model_folder: Path | str, layer: int, batch_size: int) -> None:
        from rbr.models.load import load_encoder, load_tokenizer
        from rbr.models.trunk import decoder_of, part_of

        decoder = decoder_of(load_encoder(model_folder))
        self.layer = min(layer, len(decoder.layers))
        self.model = part_of(decoder, 0, self.layer, norm=False)
        self.tokenizer = load_tokenizer(model_folder)
        self.batch_size = batch_size

    def __call__(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
    ) -> Array:
        from rbr.models.load import chat_texts
        from rbr.models.trunk import length_batches, pooled_states

        prompts = chat_texts(self.tokenizer, conversations)
        lengths = [len(p) + len(c) for p, c in zip(prompts, completions, strict=True)]
        result: Array | None = None
        done = 0
        for batch in length_batches(lengths, self.batch_size):
            before, inside = pooled_states(
                self.model,
                self.tokenizer,
                [prompts[i] for i in batch],
                [completions[i] for i in batch],
            )
            values = np.concatenate([inside.numpy(), before.numpy()], axis=1)
            if result is None:
                result = np.zeros((len(prompts), values.shape[1]))
            result[batch] = values
            done += len(batch)
            if progress:
                progress(done, len(prompts))
        return np.zeros((0, 0)) if result is None else result


class HeadGrader:
    """A fitted ``head`` grader, as ``Grader`` asks.

    Args:
        folder: what the ``grader`` step made.
        model_folder: the model whose states it reads.
    """

    def __init__(self, folder: Path, model_folder: Path | str, batch_size: int = 32) -> None:
        self.heads, about = Heads.load(folder)
        self.propositions = self.heads.propositions
        self.features = StateFeatures(model_folder, int(str(about["layer"])), batch_size)
        digest = hashlib.sha256((folder / "head.safetensors").read_bytes()).hexdigest()
        self._identity = f"head:{digest[:16]}"

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: the heads are fitted together, so one digest is that of all."""
        return self._identity

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        names = self.propositions if propositions is None else propositions
        if not completions:
            return np.zeros((0, len(names)))
        graded = self.heads.probabilities(self.features(conversations, completions, progress))
        return graded[:, [self.propositions.index(name) for name in names]]
