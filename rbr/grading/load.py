"""Making the grader that the options name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.errors import RBRError
from rbr.files import files_digest
from rbr.grading.consistency import ConsistentGrader
from rbr.grading.head import HeadGrader
from rbr.grading.yesno import YesNoGrader, load_prompts

if TYPE_CHECKING:
    from rbr.grading.base import Grader
    from rbr.grading.engines.base import YesNoEngine
    from rbr.grading.options import GraderOptions
    from rbr.rules.rules import Rules

# The server's key comes from the environment alone: settings files and run records never hold it.
KEY_VARIABLE = "RBR_GRADER_KEY"


def model_identity(model: Path | str) -> str:
    """A hub name as it is; a folder by the digest of its weights."""
    folder = Path(model)
    if not folder.is_dir():
        return str(model)
    return f"weights:{files_digest(sorted(folder.glob('*.safetensors')))}"


def make_engine(
    options: GraderOptions, default_model: Path | str, servers: Sequence[str] = ()
) -> YesNoEngine:
    """The yes/no engine of the options; its model is loaded at the first use.

    Args:
        default_model: asked where ``options.model`` is None.
        servers: addresses that the ``openai`` engine asks instead of ``options.address``.

    Raises:
        RBRError: if an option that the engine needs is missing.
    """
    model = options.model or default_model
    if options.engine == "head":
        raise RBRError("grader.engine 'head' asks no model: it is no yes/no engine")
    if options.engine == "transformers":
        from rbr.grading.engines.transformers import TransformersEngine

        return TransformersEngine(model, options.batch_size, identity=model_identity(model))
    if options.engine == "vllm":
        from rbr.grading.engines.vllm import VLLMEngine

        return VLLMEngine(model, options.batch_size, model_identity(model), **options.vllm)
    from rbr.grading.engines.openai import OpenAIEngine

    addresses = servers or ([options.address] if options.address else [])
    if not addresses:
        raise RBRError(
            "grader.address: the openai engine needs the server's URL (…/v1), or several in"
            " scale.grader_servers"
        )
    return OpenAIEngine(
        addresses,
        options.served_name or str(model),
        model,
        key=os.environ.get(KEY_VARIABLE),
        restrict=options.restrict,
        concurrency=options.concurrency,
        timeout=options.timeout,
        retries=options.retries,
    )


def make_grader(
    options: GraderOptions,
    rules: Rules,
    folder: Path,
    default_model: Path | str,
    servers: Sequence[str] = (),
    load: bool = True,
    stored: Callable[[Grader], Grader] | None = None,
) -> ConsistentGrader:
    """The grader of the options, as it was fitted in ``folder``; consistent, whatever the engine.

    Args:
        load: load its model now; otherwise at its first use.
        stored: puts a grade store before it.

    Raises:
        RBRError: if an option or the fitted grader is missing.
        ModelError: if the model cannot be loaded.
    """
    grader: HeadGrader | YesNoGrader
    if options.engine == "head":
        grader = HeadGrader(folder, default_model, options.batch_size)
    else:
        engine = make_engine(options, default_model, servers)
        grader = YesNoGrader(engine, rules, load_prompts(folder))
    if load:
        grader.load()
    return ConsistentGrader(stored(grader) if stored else grader, rules.relations)
