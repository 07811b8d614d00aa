"""Errors of the service: one JSON form for all, declared in the published schema."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from rbr.serve.observe import HEADER, REQUEST_ID

# A body can be wrong in thousands of places; the first few are enough to correct it.
MAX_DETAILS = 10


class Detail(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="path in the body, e.g. `items.0.completion`")
    message: str


class Problem(BaseModel):
    """The body of every error. It never repeats texts of the request."""

    error: str = Field(description="a fixed word a program can branch on, e.g. `queue_full`")
    message: str = Field(description="what is wrong and what to do, for people")
    details: list[Detail] = Field(default_factory=list, description="at most 10")
    request_id: str | None = Field(
        None, description="as in the header `X-Request-ID` and in the service's log"
    )


class ServeError(HTTPException):
    """An error with a ``Problem`` as its detail.

    Args:
        status: HTTP status.
        error: see ``Problem.error``.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        details: Sequence[Detail] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        problem = Problem(error=error, message=message, details=list(details[:MAX_DETAILS]))
        super().__init__(status, problem, headers)
        self.error = error


_RETRY = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {
        "description": "No token, or a wrong one",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    },
    413: {"description": "The body is larger than the service accepts"},
    422: {"description": "The body does not have the format of this endpoint"},
    429: {
        "description": "The queue is full: repeat after `Retry-After` seconds",
        "headers": _RETRY,
    },
    503: {"description": "The model failed on this request, or the service is stopping: no score"},
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of these errors, for FastAPI's ``responses``."""
    return {status: {"model": Problem, **_RESPONSES[status]} for status in statuses}


def respond(error: StarletteHTTPException) -> JSONResponse:
    """The response to an error; those of Starlette's own get the form of ``Problem`` too."""
    problem: Any = error.detail
    if not isinstance(error, ServeError):
        phrase = HTTPStatus(error.status_code).phrase
        problem = Problem(error=phrase.lower().replace(" ", "_"), message=phrase)
    identity = REQUEST_ID.get()
    problem = problem.model_copy(update={"request_id": identity})
    headers = {**(error.headers or {}), **({HEADER: identity} if identity else {})}
    return JSONResponse(problem.model_dump(), error.status_code, headers)


def add_handlers(app: FastAPI) -> None:
    """Answer every error in the form of ``Problem``."""

    @app.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI's status for a body that the JSON parser rejects (too deep, invalid UTF-8).
            error = ServeError(422, "invalid_request", "the body is no JSON that can be read")
        return respond(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own form repeats the input: whole texts, and NaN, which is no JSON.
        details = [
            Detail(where=".".join(map(str, e["loc"][1:])), message=str(e["msg"]))
            for e in error.errors()[:MAX_DETAILS]
        ]
        message = "the body does not have the format of this endpoint; see details"
        return respond(ServeError(422, "invalid_request", message, details))

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> JSONResponse:
        return respond(ServeError(500, "internal", "an internal error; see the service's log"))
