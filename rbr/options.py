"""The base of every function's options: checked as they are read, and unchanged afterwards."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of all options: an unknown key is an error."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)
