"""The ``head`` engine: logistic heads on middle layers of the frozen policy model.

The cheapest grader: one run of half the layers grades all propositions of a completion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from rbr.grading.base import Conversation, Probabilities, Progress
from rbr.grading.heads import Array, Heads


class StateFeatures:
    """Pooled hidden states after each of ``layers`` decoder layers; those above are not run.

    Per completion and layer: the mean over its tokens and its last token's state; of the last layer
    the mean over the prompt's too: shape (n, (2 * layers + 1) * hidden).
    """

    def __init__(self, model_folder: Path | str, layers: Sequence[int], batch_size: int) -> None:
        from rbr.models.load import load_encoder, load_tokenizer
        from rbr.models.trunk import decoder_of, part_of

        decoder = decoder_of(load_encoder(model_folder))
        self.layers = tuple(sorted({min(layer, len(decoder.layers)) for layer in layers}))
        self.model = part_of(decoder, 0, self.layers[-1], norm=False)
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
            values = pooled_states(
                self.model,
                self.tokenizer,
                [prompts[i] for i in batch],
                [completions[i] for i in batch],
                self.layers,
            ).numpy()
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
        self.thresholds = self.heads.threshold
        layers = [int(layer) for layer in cast(list[int], about["layers"])]
        self.features = StateFeatures(model_folder, layers, batch_size)
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
        return self.heads.grade(self.features(conversations, completions, progress), names)
