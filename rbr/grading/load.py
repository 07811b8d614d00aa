"""Making the grader that a profile names."""

from __future__ import annotations

import os
from collections.abc import Sequence
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


def engine_identity(settings: GraderSettings, default_model: Path | str) -> str:
    """``YesNoEngine.identity`` of a profile's engine, without loading a model."""
    model = settings.model or default_model
    if settings.engine == "openai":
        return settings.served_name or str(model)
    return model_identity(model)


def make_engine(
    settings: GraderSettings, default_model: Path | str, servers: Sequence[str] = ()
) -> YesNoEngine:
    """The yes/no engine of a profile.

    Args:
        default_model: asked where ``settings.model`` is None.
        servers: addresses that the ``openai`` engine asks instead of ``settings.address``.

    Raises:
        RBRError: if a setting that the engine needs is missing.
        ModelError: if the model cannot be loaded.
    """
    model = settings.model or default_model
    if settings.engine == "transformers":
        from rbr.grading.engines.shared import TransformersEngine

        return TransformersEngine(
            model, settings.batch_size, identity=engine_identity(settings, default_model)
        )
    if settings.engine == "vllm":
        from rbr.grading.engines.vllm import VLLMEngine

        return VLLMEngine(
            model,
            settings.batch_size,
            identity=engine_identity(settings, default_model),
            **settings.vllm,
        )
    if settings.engine == "openai":
        from rbr.grading.engines.openai import OpenAIEngine
        from rbr.models.load import load_tokenizer

        addresses = servers or ([settings.address] if settings.address else [])
        if not addresses:
            raise RBRError(
                "grader.address: the openai engine needs the server's URL (…/v1), or several in"
                " scale.grader_servers"
            )
        return OpenAIEngine(
            addresses,
            engine_identity(settings, default_model),
            load_tokenizer(model),
            key=os.environ.get(KEY_VARIABLE),
            restrict=settings.restrict,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            retries=settings.retries,
        )
    raise RBRError(f"grader.engine '{settings.engine}' asks no model: it is no yes/no engine")


def make_grader(
    settings: GraderSettings,
    rules: Rules,
    folder: Path,
    default_model: Path | str,
    servers: Sequence[str] = (),
) -> Grader:
    """The grader of a profile, as the ``grader`` step fitted it in ``folder``."""
    if settings.engine == "head":
        return HeadGrader(folder, default_model, settings.batch_size)
    return YesNoGrader(make_engine(settings, default_model, servers), rules, load_prompts(folder))
