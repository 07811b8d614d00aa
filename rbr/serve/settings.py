"""What a running service may use: memory, time, and who may ask."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

# Limits of a single request stand in the published schema, so they are no settings.
MAX_ITEMS = 256
MAX_TURNS = 64
MAX_CHARACTERS = 32_768

# The token comes from the environment alone: a process list or a shell's history would show an option.
TOKEN_VARIABLE = "RBR_SERVE_TOKEN"


class ServeSettings(BaseModel):
    """Limits of a service, and its token (None: whoever reaches the port may ask)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch: int = Field(64, ge=1, description="completions scored in one call")
    max_wait_ms: float = Field(
        10, ge=0, description="how long the first of a batch waits for others"
    )
    max_waiting: int = Field(
        1024, ge=MAX_ITEMS, description="completions in the queue; beyond, requests get 429"
    )
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="of one request")
    max_connections: int = Field(1024, ge=1, description="open at once; beyond, 503")
    stop_seconds: float = Field(30, ge=0, description="for what is queued when the service stops")
    chat_template: str = Field(
        "chatml",
        description="of OpenRLHF's prompts: chatml, plain, or the folder or hub name of a tokenizer",
    )
    token: SecretStr | None = None

    @field_validator("token")
    @classmethod
    def _not_blank(cls, token: SecretStr | None) -> SecretStr | None:
        # A blank token would look like protection and be none.
        if token is not None and not token.get_secret_value().strip():
            raise ValueError("the token is blank: give one, or leave it out")
        return token
