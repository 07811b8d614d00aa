"""Making the grader that a profile names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.errors import RBRError
from rbr.files import files_digest
from rbr.grading.base import Grader
from rbr.grading.head import HeadGrader
from rbr.grading.yesno import YesNoEngine, YesNoGrader, load_prompts

if TYPE_CHECKING:
    from rbr.rules import Rules
    from rbr.settings import Grader as GraderSettings

# The server's key comes from the environment alone: settings files and run records never hold it.
KEY_VARIABLE = "RBR_GRADER_KEY"


def model_identity(model: Path | str) -> str:
    """A hub name as it is; a folder by what its weights are."""
    folder = Path(model)
    if not folder.is_dir():
        return str(model)
    return f"weights:{files_digest(sorted(folder.glob('*.safetensors')))}"


def make_engine(settings: GraderSettings, default_model: Path | str) -> YesNoEngine:
    """The yes/no engine of a profile.

    Args:
        default_model: asked where ``settings.model`` is None.

    Raises:
        RBRError: if a setting that the engine needs is missing.
        ModelError: if the model cannot be loaded.
    """
    model = settings.model or default_model
    if settings.engine == "transformers":
        from rbr.grading.engines.shared import TransformersEngine

        return TransformersEngine(model, settings.batch_size, identity=model_identity(model))
    if settings.engine == "vllm":
        from rbr.grading.engines.vllm import VLLMEngine

        return VLLMEngine(
            model, settings.batch_size, identity=model_identity(model), **settings.vllm
        )
    if settings.engine == "openai":
        from rbr.grading.engines.openai import OpenAIEngine
        from rbr.models.load import load_tokenizer

        if not settings.address:
            raise RBRError("grader.address: the openai engine needs the server's URL (…/v1)")
        return OpenAIEngine(
            settings.address,
            settings.served_name or str(model),
            load_tokenizer(model),
            key=os.environ.get(KEY_VARIABLE),
            restrict=settings.restrict,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            retries=settings.retries,
        )
    raise RBRError(f"grader.engine '{settings.engine}' asks no model: it is no yes/no engine")


def make_grader(
    settings: GraderSettings, rules: Rules, folder: Path, default_model: Path | str
) -> Grader:
    """The grader of a profile, as the ``grader`` step fitted it in ``folder``."""
    if settings.engine == "head":
        return HeadGrader(folder, default_model, settings.batch_size)
    return YesNoGrader(make_engine(settings, default_model), rules, load_prompts(folder))
