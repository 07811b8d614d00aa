"""Making the grader that the options name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.errors import RBRError
from rbr.files import files_digest
from rbr.grading.composed import ComposedGrader
from rbr.grading.consistency import ConsistentGrader
from rbr.grading.head import HeadGrader
from rbr.grading.options import GraderOptions, GuardOptions
from rbr.grading.yesno import FittedPrompt, YesNoGrader, fit_prompts, load_prompts
from rbr.models.chat.usage import Usage

if TYPE_CHECKING:
    from rbr.data.rows import Labelled
    from rbr.grading.base import Grader, Progress
    from rbr.grading.chat.grader import ChatGrader
    from rbr.grading.engines.base import YesNoEngine
    from rbr.models.chat import ChatClient
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
    if options.engine in ("head", "chat"):
        raise RBRError(f"grader.engine '{options.engine}' is no yes/no engine")
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


def make_client(
    options: GraderOptions | GuardOptions,
    model: str,
    limits: GraderOptions,
    servers: Sequence[str] = (),
) -> ChatClient:
    """The client of a chat grader's servers.

    Args:
        model: its name on the servers, where the options give none.
        limits: what bounds and repeats requests.
        servers: addresses in place of the options' own.

    Raises:
        RBRError: if no address is known.
    """
    from rbr.models.chat import ChatClient, Prices

    own = (options.address,) if isinstance(options.address, str) else options.address or ()
    if not (servers or own):
        raise RBRError(
            "grader.address: the chat engine needs the server's URL (…/v1), or several in"
            " scale.grader_servers"
        )
    chat = options.chat if isinstance(options, GraderOptions) else options
    return ChatClient(
        tuple(servers or own),
        options.served_name or model,
        key=os.environ.get(KEY_VARIABLE),
        concurrency=limits.concurrency,
        timeout=limits.timeout,
        retries=limits.retries,
        request=chat.request,
        prices=Prices(**chat.prices.model_dump()) if chat.prices else None,
    )


def served_model(address: str) -> str:
    """The name of the only model on a server.

    Raises:
        RBRError: if it does not tell, or has several.
    """
    from openai import OpenAI, OpenAIError

    key = os.environ.get(KEY_VARIABLE) or "none"
    try:
        names = [m.id for m in OpenAI(base_url=address, api_key=key, timeout=30).models.list()]
    except OpenAIError as error:
        raise RBRError(f"{address} does not say which model it has ({error})") from error
    if len(names) != 1:
        found = ", ".join(names[:5]) or "none"
        raise RBRError(
            f"{address} has {len(names)} models ({found}): name one in a settings file (served_name)"
        )
    return names[0]


def make_chat_grader(
    options: GraderOptions,
    rules: Rules,
    default_model: Path | str,
    servers: Sequence[str] = (),
    prompts: Mapping[str, FittedPrompt] | None = None,
) -> ChatGrader:
    """The chat grader of the options.

    Args:
        prompts: what was fitted; the options' first wording, without calibration, for others.
    """
    from rbr.grading.chat.grader import ChatGrader
    from rbr.grading.chat.styles import style_of
    from rbr.grading.chat.verdicts import Budget

    chat = options.chat
    plain = FittedPrompt(chat.wordings[0])
    asked = {name: (prompts or {}).get(name, plain) for name in rules.proposition_names}
    asking = style_of(rules, {name: prompt.style for name, prompt in asked.items()}, chat)
    budget = Budget(chat.max_reasoning_tokens, chat.logprobs, chat.samples, chat.temperature)
    # What was reserved for an answer or kept of it changes no verdict; nor do prices.
    kept_out = {"wordings", "prices", "keep_reasoning", "max_tokens", "max_reasoning_tokens"}
    return ChatGrader(
        make_client(options, str(options.model or default_model), options, servers),
        asking,
        budget,
        chat.model_dump(mode="json", exclude=kept_out),
        None if chat.group == "all" else chat.group,
        asked,
        chat.keep_reasoning,
    )


def make_guard(guard: GuardOptions, limits: GraderOptions, rules: Rules) -> ChatGrader:
    """The grader of a guard's labels, of the propositions that they tell.

    Raises:
        RBRError: if a label's role is told by no single proposition.
    """
    from rbr.grading.chat.grader import ChatGrader
    from rbr.grading.chat.guards import GuardStyle
    from rbr.grading.chat.verdicts import Budget

    style = GuardStyle(guard, rules)
    settings = {
        "format": guard.format,
        "labels": {name: style.label(name) for name in style.propositions},
        "request": guard.request,
        "logprobs": guard.logprobs,
    }
    return ChatGrader(
        make_client(guard, guard.served_name, limits),
        style,
        Budget(guard.max_reasoning_tokens, guard.logprobs),
        settings,
        group=None,
    )


def make_uncalibrated(
    options: GraderOptions, rules: Rules, default_model: Path | str, servers: Sequence[str] = ()
) -> ChatGrader | YesNoGrader:
    """A grader that asks a model by the plain prompts: nothing of it is fitted."""
    if options.engine == "chat":
        return make_chat_grader(options, rules, default_model, servers)
    return YesNoGrader(make_engine(options, default_model, servers), rules)


def fit_grader(
    options: GraderOptions,
    rules: Rules,
    rows: Sequence[Labelled],
    default_model: Path | str,
    servers: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[dict[str, FittedPrompt], Usage | None]:
    """Choose the prompts and the calibration of a grader that asks a model, on gold rows.

    Returns:
        See ``fit_prompts``; and what it took, of a chat model.
    """
    names = rules.proposition_names
    if options.engine != "chat":
        engine = make_engine(options, default_model, servers)
        return fit_prompts(lambda p: YesNoGrader(engine, rules, p), names, rows), None
    used = Usage()

    def asked_by(prompts: dict[str, FittedPrompt]) -> ChatGrader:
        grader = make_chat_grader(options, rules, default_model, servers, prompts)
        grader.client.usage = used
        return grader

    return fit_prompts(asked_by, names, rows, options.chat.wordings, progress), used


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
    grader: HeadGrader | YesNoGrader | ChatGrader | ComposedGrader
    if options.engine == "head":
        grader = HeadGrader(folder, default_model, options.batch_size)
    elif options.engine == "chat":
        prompts = load_prompts(folder)
        grader = make_chat_grader(options, rules, default_model, servers, prompts)
    else:
        engine = make_engine(options, default_model, servers)
        grader = YesNoGrader(engine, rules, load_prompts(folder))
    if options.guard:
        grader = ComposedGrader(grader, make_guard(options.guard, options, rules))
    if load:
        grader.load()
    return ConsistentGrader(stored(grader) if stored else grader, rules.relations)
