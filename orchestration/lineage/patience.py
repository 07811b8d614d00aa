"""An MLflow client that waits, with a message, while its server does not answer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from rbr.errors import RBRError

FIRST_WAIT = 1.0
LONGEST_WAIT = 15.0


class TrackingError(RBRError):
    """MLflow cannot be used: it does not answer, or refuses."""


def patience() -> float:
    """Seconds to wait for MLflow: ``RBR_MLFLOW_PATIENCE``, ten minutes by default.

    Raises:
        TrackingError: if it is no number of seconds.
    """
    told = os.environ.get("RBR_MLFLOW_PATIENCE", "600")
    try:
        seconds = float(told)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise TrackingError(f"RBR_MLFLOW_PATIENCE must be a number of seconds, not '{told}'")
    return seconds


class PatientClient:
    """``MlflowClient`` with patience: each call is repeated while the server is away.

    Args:
        client: an ``MlflowClient`` of a server's address.
        say: where the message goes that it waits; may be changed at any time.

    Raises:
        TrackingError: by any call, if the server stays away, or refuses the credentials.
    """

    def __init__(self, client: Any, address: str, say: Callable[[str], None] | None = None) -> None:
        self._client = client
        self._address = address
        self.say = say or (lambda text: print(text, file=sys.stderr))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._call(value, args, kwargs)

    def _call(self, call: Any, args: Any, kwargs: Any) -> Any:
        started = time.monotonic()
        wait = FIRST_WAIT
        told = False
        while True:
            try:
                result = call(*args, **kwargs)
            except Exception as error:
                status = _status(error)
                if status in (401, 403):
                    raise TrackingError(
                        f"MLflow at {self._address} refuses ({status}): set MLFLOW_TRACKING_USERNAME"
                        " and MLFLOW_TRACKING_PASSWORD"
                    ) from None
                if not _away(error, status):
                    raise
                left = patience() - (time.monotonic() - started)
                if left <= 0:
                    raise TrackingError(
                        f"MLflow at {self._address} did not answer for {patience():.0f} s: start it,"
                        " and run this again (RBR_MLFLOW_PATIENCE sets the seconds)"
                    ) from error
                if not told:
                    self.say(
                        f"MLflow at {self._address} does not answer; waiting up to {left:.0f} s"
                    )
                    told = True
                time.sleep(min(wait, max(left, 0.1)))
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if told:
                    self.say(f"MLflow answers again after {time.monotonic() - started:.0f} s")
                return result


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error of MLflow or requests, if there is one."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    text = str(error)
    for status in (401, 403, 500, 502, 503, 504):
        if f"error code {status}" in text or f"HTTP code {status}" in text:
            return status
    code = getattr(error, "error_code", None)
    return {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}.get(str(code))


def _away(error: BaseException, status: int | None) -> bool:
    """Whether the server, or the database behind it, does not answer for now."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as Unreachable
    from requests.exceptions import Timeout

    if status is not None:
        return status >= 500
    if isinstance(error, Unreachable | Timeout):
        return True
    if not isinstance(error, MlflowException):
        return False
    failed = "failed with exception" in str(error) or "failed with timeout" in str(error)
    return failed or error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
