"""Errors of the service: one JSON form for all, declared in the published schema."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

# A body can be wrong in thousands of places; the first few are enough to mend it.
SHOWN_DETAILS = 10


class Detail(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="path in the body, e.g. `items.0.completion`")
    message: str


class Problem(BaseModel):
    """What every error answer holds. It never repeats texts of the request."""

    error: str = Field(description="a fixed word a program can branch on, e.g. `queue_full`")
    message: str = Field(description="what is wrong and what to do, for people")
    details: list[Detail] = Field(default_factory=list, description="at most 10")


class ServeError(Exception):
    """An error that becomes an answer.

    Args:
        status: of the HTTP answer.
        error: see ``Problem.error``.
        retry_after: seconds until a repeat makes sense; None where it makes none.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        details: Sequence[Detail] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.details = list(details)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    def response(self) -> JSONResponse:
        """The answer."""
        problem = Problem(
            error=self.error, message=self.message, details=self.details[:SHOWN_DETAILS]
        )
        return JSONResponse(problem.model_dump(), self.status, headers=self.headers())


_RETRY = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
_MEANINGS: dict[int, tuple[str, dict[str, Any]]] = {
    401: ("No token, or a wrong one", {"WWW-Authenticate": {"schema": {"type": "string"}}}),
    413: ("The body is larger than the service takes", {}),
    422: ("The body is not what this endpoint takes", {}),
    429: ("The queue is full: come again after `Retry-After` seconds", _RETRY),
    503: ("The model failed on this request, or the service is stopping; there is no score", {}),
}


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These errors, as FastAPI's ``responses`` wants them."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, headers = _MEANINGS[status]
        found[status] = {"model": Problem, "description": description}
        if headers:
            found[status]["headers"] = headers
    return found


def add_handlers(app: FastAPI) -> None:
    """Answer every error in the form of ``Problem``."""

    async def own(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServeError)
        return error.response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # The library's own form holds the input: it would send NaN (no JSON) and whole texts back.
        details = [
            Detail(where=".".join(str(part) for part in e["loc"][1:]), message=str(e["msg"]))
            for e in error.errors()[:SHOWN_DETAILS]
        ]
        what = "the body is not what this endpoint takes; see details"
        return ServeError(422, "invalid_request", what, details).response()

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        status = error.status_code
        if status == HTTPStatus.BAD_REQUEST:
            # FastAPI's word for a body that the JSON parser gave up on (too deep, broken UTF-8).
            what = "the body is no JSON that can be read"
            return ServeError(422, "invalid_request", what).response()
        phrase = HTTPStatus(status).phrase
        answer = ServeError(status, phrase.lower().replace(" ", "_"), phrase).response()
        answer.headers.update(error.headers or {})
        return answer

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return ServeError(500, "internal", "an error in the service; its log has it").response()

    app.add_exception_handler(ServeError, own)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception as ``Type: message`` on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:limit]
