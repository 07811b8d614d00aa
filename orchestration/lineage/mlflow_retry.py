"""An MLflow client that waits, with a message, while its server does not answer."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from rbr.errors import RBRError

LONGEST_PAUSE = 15.0
REQUEST_TAG = "rbr.request"


class TrackingError(RBRError):
    """MLflow cannot be used: it does not answer, or refuses."""


class RetryingClient:
    """An ``MlflowClient`` whose calls are repeated while the server does not answer.

    A repeated call must change nothing. That holds for what reads or overwrites; a call that creates
    something may have reached the server although its answer was lost, so before it is repeated, the
    client looks for what it made: by its name, or by a tag that is new with each call.

    Args:
        client: an ``MlflowClient`` of a server's address.
        log: receives the messages about waiting.

    Raises:
        TrackingError: by any call, if the server stays away, or refuses the credentials.
    """

    def __init__(self, client: Any, address: str, log: Callable[[str], None]) -> None:
        self._client = client
        self._address = address
        self._log = log

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._repeat(lambda: value(*args, **kwargs))

    def create_experiment(self, name: str, **options: Any) -> str:
        def find() -> str | None:
            found = self._client.get_experiment_by_name(name)
            return str(found.experiment_id) if found else None

        return str(self._create(self._client.create_experiment, find, name, **options))

    def create_run(
        self, experiment_id: str, tags: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        request = uuid.uuid4().hex
        return self._create(
            self._client.create_run,
            lambda: self._client.search_runs([experiment_id], _tagged(request)),
            experiment_id,
            tags={**(tags or {}), REQUEST_TAG: request},
            **options,
        )

    def create_logged_model(
        self, experiment_id: str, tags: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        request = uuid.uuid4().hex
        return self._create(
            self._client.create_logged_model,
            lambda: list(self._client.search_logged_models([experiment_id], _tagged(request))),
            experiment_id,
            tags={**(tags or {}), REQUEST_TAG: request},
            **options,
        )

    def create_registered_model(self, name: str, **options: Any) -> Any:
        return self._create(
            self._client.create_registered_model,
            lambda: self._client.search_registered_models(f"name = '{name}'"),
            name,
            **options,
        )

    def create_model_version(
        self, name: str, source: str, tags: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        request = uuid.uuid4().hex
        return self._create(
            self._client.create_model_version,
            lambda: self._client.search_model_versions(f"name = '{name}' and {_tagged(request)}"),
            name,
            source,
            tags={**(tags or {}), REQUEST_TAG: request},
            **options,
        )

    def create_prompt(self, name: str, **options: Any) -> Any:
        create = self._client.create_prompt
        return self._create(create, lambda: self._client.get_prompt(name), name, **options)

    def create_prompt_version(self, name: str, template: str, **options: Any) -> Any:
        def find() -> Any:
            latest = latest_prompt(self._client, name)
            return latest if latest and latest.template == template else None

        create = self._client.create_prompt_version
        return self._create(create, find, name, template, **options)

    def _create(
        self, create: Callable[..., Any], find: Callable[[], Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Call ``create``; when it is repeated, return what ``find`` finds instead, if anything."""
        repeated = False

        def attempt() -> Any:
            nonlocal repeated
            found = find() if repeated else None
            repeated = True
            if not found:
                return create(*args, **kwargs)
            return found[0] if isinstance(found, list) else found

        return self._repeat(attempt)

    def _repeat(self, call: Callable[[], Any]) -> Any:
        from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay

        seconds = longest_wait()

        def elapsed(state: RetryCallState) -> float:
            return float(state.seconds_since_start or 0.0)

        def announce(state: RetryCallState) -> None:
            if state.attempt_number == 1:
                left = seconds - elapsed(state)
                self._log(f"MLflow at {self._address} does not answer; waiting up to {left:.0f} s")

        def give_up(state: RetryCallState) -> None:
            raise TrackingError(
                f"MLflow at {self._address} did not answer for {seconds:.0f} s: start it, and run"
                " this again (RBR_MLFLOW_PATIENCE sets the seconds)"
            ) from (state.outcome.exception() if state.outcome else None)

        def once() -> Any:
            try:
                return call()
            except Exception as error:
                status = _status(error)
                if status not in (401, 403):
                    raise
                raise TrackingError(
                    f"MLflow at {self._address} refuses ({status}): set MLFLOW_TRACKING_USERNAME"
                    " and MLFLOW_TRACKING_PASSWORD"
                ) from None

        def pause(state: RetryCallState) -> float:
            growing = min(2.0 ** (state.attempt_number - 1), LONGEST_PAUSE)
            return min(growing, max(seconds - elapsed(state), 0.1))

        retrying = Retrying(
            retry=retry_if_exception(_away),
            wait=pause,
            stop=stop_after_delay(seconds),
            before_sleep=announce,
            retry_error_callback=give_up,
        )
        result = retrying(once)
        if retrying.statistics["attempt_number"] > 1:
            waited = retrying.statistics["delay_since_first_attempt"]
            self._log(f"MLflow answers again after {waited:.0f} s")
        return result


def longest_wait() -> float:
    """Seconds to wait for MLflow: ``RBR_MLFLOW_PATIENCE``, ten minutes by default.

    Raises:
        TrackingError: if it is not a number of seconds.
    """
    text = os.environ.get("RBR_MLFLOW_PATIENCE", "600")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise TrackingError(f"RBR_MLFLOW_PATIENCE must be a number of seconds, not '{text}'")
    return seconds


def _tagged(request: str) -> str:
    return f"tags.`{REQUEST_TAG}` = '{request}'"


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error of MLflow or requests, if there is one."""
    from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException

    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    if not isinstance(error, MlflowException):
        return None
    found = re.search(r"failed with error code (\d{3})", str(error))
    return int(found[1]) if found else ERROR_CODE_TO_HTTP_STATUS.get(error.error_code)


def _away(error: BaseException) -> bool:
    """Whether the server, or the database behind it, does not answer for now."""
    from requests.exceptions import ConnectionError as Unreachable
    from requests.exceptions import Timeout

    return _status(error) in (500, 502, 503, 504) or isinstance(error, Unreachable | Timeout)


def latest_prompt(client: Any, name: str) -> Any:
    """The newest version of a prompt of the registry, or None."""
    address = f"prompts:/{name}@latest"
    return client.load_prompt(address, allow_missing=True, cache_ttl_seconds=0)
