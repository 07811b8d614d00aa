"""Options of graders and of their tuning."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rbr.options import Options


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
    balance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="calibration weighs positives by (negatives / positives)^balance",
    )


class GraderOptions(Options):
    """The reward's grader.

    ``head`` tunes the policy model's lower layers with heads (``tuning``). The others ask ``model`` (the
    policy model where it is None) for yes or no: in this process (``transformers``, ``vllm``) or on the
    server at ``address`` (``openai``), whose key is the environment's RBR_GRADER_KEY.
    """

    engine: Literal["head", "transformers", "vllm", "openai"] = "head"
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

    @property
    def on_server(self) -> bool:
        """Whether the grader runs elsewhere: this machine waits for it."""
        return self.engine not in ("head", "transformers", "vllm")
