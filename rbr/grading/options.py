"""Options of graders and of their tuning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rbr.options import Options

# How much of a rule a question quotes, from the shortest to the longest (``rbr.grading.prompts``).
Style = Literal["question", "definition", "criteria", "examples"]
STYLES: tuple[Style, ...] = ("question", "definition", "criteria", "examples")


class TuningOptions(Options):
    """Fine-tuning of the first ``layers`` layers of a backbone, with heads, on gold rows.

    Of them the last ``trained_layers`` are trained, all for None: what lower layers know of which words
    go together stays as it came.
    The rows of ``validation_fraction`` of the conversations are kept for calibration and thresholds.
    """

    layers: int = Field(16, gt=0)
    trained_layers: int | None = Field(None, gt=0)
    epochs: int = Field(6, gt=0)
    learning_rate: float = 1e-4
    head_learning_rate: float = 2e-3
    batch_size: int = Field(16, gt=0)
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    kept_states: float = Field(
        2.0,
        ge=0,
        description="GiB for the output of the frozen layers, which is then computed once a row",
    )
    planted: float = Field(
        0.0,
        ge=0,
        description="answers made of each gold row that is trained on, see rbr.data.planting",
    )
    balance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="calibration weighs positives by (negatives / positives)^balance",
    )


class PriceOptions(Options):
    """Prices a million tokens, in any currency; cached prompt tokens cost as others for null."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)


class ChatOptions(Options):
    """How the ``chat`` engine asks.

    ``style``: the propositions as statements, or as the written policy that models such as
    gpt-oss-safeguard follow. ``answer``: JSON with reasons, or one word, which is the question of the
    yes/no engines through a chat endpoint. ``group``: propositions a request.
    """

    style: Literal["question", "policy"] = "question"
    answer: Literal["json", "word"] = "json"
    wordings: tuple[Style, ...] = Field(
        ("examples",), min_length=1, description="of several, the fit chooses one a proposition"
    )
    reason: Literal["before", "after", "none"] = "after"
    group: Annotated[int, Field(gt=0)] | Literal["all"] = 1
    logprobs: bool = Field(True, description="ask for the log-probabilities of the verdict's token")
    samples: int = Field(1, gt=0, description="answers, where no log-probabilities are sent")
    temperature: float = Field(0.7, gt=0, description="of samples; a single answer is greedy")
    max_tokens: int = Field(160, gt=0, description="of the answer, a proposition")
    max_reasoning_tokens: int = Field(1024, ge=0, description="of the reasoning before it")
    keep_reasoning: bool = Field(False, description="keep the reasoning beside the reason")
    request: dict[str, Any] = Field(
        {}, description="further parameters of a request: reasoning_effort, chat_template_kwargs"
    )
    prices: PriceOptions | None = None

    @model_validator(mode="after")
    def _one_word_is_of_one_question(self) -> ChatOptions:
        if self.answer == "word" and (self.group != 1 or self.style != "question"):
            raise ValueError("answer 'word' goes with group 1 and style 'question'")
        return self


def _words(values: Any) -> Any:
    """YAML reads an unquoted yes or no as a truth value."""
    spelt: dict[bool, tuple[str, ...]] = {True: ("yes", "true"), False: ("no", "false")}
    if not isinstance(values, list | tuple):
        return values
    return tuple(
        word.casefold() if isinstance(word, str) else word
        for value in values
        for word in (spelt[value] if isinstance(value, bool) else (value,))
    )


Words = Annotated[tuple[str, ...], BeforeValidator(_words), Field(min_length=1)]


class GuardLabel(Options):
    """How a guard's answer tells a role: what stands in ``field`` ('' for an answer of one word)."""

    field: str = ""
    holds: Words
    fails: Words


class GuardOptions(Options):
    """A guard model, which grades the propositions that its labels tell in the engine's place.

    Of the server it takes the grader's ``concurrency``, ``timeout`` and ``retries``. ``labels`` is by
    role (``refused``, ``disallowed``) and replaces the format's own.
    """

    address: str | tuple[str, ...]
    served_name: str
    format: Literal[
        "qwen3guard", "llama_guard", "shieldgemma", "granite_guardian", "wildguard", "json"
    ]
    labels: dict[str, GuardLabel] = Field({}, description="role: label, in place of the format's")
    logprobs: bool = True
    max_reasoning_tokens: int = Field(0, ge=0)
    request: dict[str, Any] = Field({}, description="see ChatOptions")
    prices: PriceOptions | None = None


class GraderOptions(Options):
    """A grader: the reward's, or the evaluation's judge.

    ``head`` tunes a model's lower layers with heads (``tuning``). The others ask ``model`` (the policy
    model where it is None): in this process (``transformers``, ``vllm``) or on the server at ``address``
    (``openai`` by completions of one token, ``chat`` by chat completions), whose key is the environment's
    RBR_GRADER_KEY. A ``guard`` grades what its labels tell, whatever the engine.
    """

    engine: Literal["head", "transformers", "vllm", "openai", "chat"] = "head"
    tuning: TuningOptions = TuningOptions()
    batch_size: int = 32
    model: str | None = None
    prompt_rows: int = Field(200, description="gold train rows that prompts are chosen on")
    served_name: str | None = Field(None, description="the model's name on the server")
    restrict: bool = Field(False, description="the server is vLLM: allow yes and no tokens alone")
    concurrency: int = Field(32, gt=0)
    timeout: float = Field(60.0, gt=0, description="seconds a request")
    retries: int = Field(4, ge=0)
    vllm: dict[str, Any] = Field({}, description="further arguments of vllm.LLM")
    address: str | None = Field(None, description="base URL of an OpenAI-compatible server")
    chat: ChatOptions = ChatOptions()
    guard: GuardOptions | None = None

    @property
    def on_server(self) -> bool:
        """Whether the grader runs elsewhere: this machine waits for it."""
        return self.engine not in ("head", "transformers", "vllm")
