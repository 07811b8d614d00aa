"""The base of every function's options: checked as they are read, and unchanged afterwards."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Options(BaseModel):
    """Base of all options: an unknown key is an error, and so is ``true`` or ``'3'`` for a number."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        problem = next(_problems(field.annotation, value), None)
        if problem:
            raise ValueError(problem)
        return value


def _problems(annotation: Any, value: Any) -> Iterator[str]:
    """The scalars in a value that pydantic would take for one of another kind."""
    kinds = kinds_of(annotation)
    if any(get_origin(kind) is Literal and value in get_args(kind) for kind in kinds):
        return
    containers = [kind for kind in kinds if get_origin(kind) in (tuple, list, dict)]
    if isinstance(value, dict | list | tuple) and containers:
        items = value.values() if isinstance(value, dict) else value
        inner = [kind for kind in get_args(containers[0]) if kind is not Ellipsis]
        for i, item in enumerate(items):
            yield from _problems(inner[min(i, len(inner) - 1)] if inner else Any, item)
    elif isinstance(value, str | bool) and not kinds & {type(value), Any}:
        if kinds & {int, float}:
            yield no_number(value)
        elif bool in kinds:
            mend = ": write it without quotes" if str(value) in ("true", "false") else ""
            yield f"must be true or false, not '{value}'{mend}"
    elif type(value) is int and bool in kinds and not kinds & {int, float}:
        yield f"must be true or false, not {value}"


def kinds_of(annotation: Any) -> set[Any]:
    """The types that a value may be of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kinds_of(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return {kind for part in get_args(annotation) for kind in kinds_of(part)}
    return {annotation}


def no_number(value: Any) -> str:
    """What is wrong with a value where a number is wanted."""
    if value is None:
        return "must be a number, and nothing is written here"
    if not isinstance(value, str):
        return f"must be a number, not {str(value).lower()}"
    try:
        float(value)
    except ValueError:
        return f"must be a number, not '{value}'"
    if not value.isascii():
        return f"must be a number in the digits 0 to 9, not '{value}'"
    return f"must be a number: write {value} without quotes"
