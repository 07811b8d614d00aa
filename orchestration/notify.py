"""Telling people of a failed gate and of a release: a log line, and a webhook where one is set.

``RBR_WEBHOOK_URL`` holds the webhook's address, which is a secret: it is shown nowhere, its host alone
is. The message is JSON with ``text``, as chat systems take it, and the fields it is made of.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from rbr.errors import RBRError

URL = "RBR_WEBHOOK_URL"
ALLOW_PRIVATE = "RBR_WEBHOOK_ALLOW_PRIVATE"
PATIENCE = 10.0  # seconds for the webhook's answer


def check_address(url: str, allow_private: bool = False) -> str:
    """The host of a webhook's address.

    Raises:
        RBRError: if it is no http(s) address, cannot be resolved, or resolves to an address of this machine
            or its private network (which a service of that network might obey) without ``allow_private``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RBRError(f"{URL} is no address ({error})") from None
    if parts.scheme not in ("http", "https") or not host:
        raise RBRError(f"{URL} must be an http or https address, not '{parts.scheme}:'")
    try:
        found = socket.getaddrinfo(host, port or parts.scheme, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RBRError(f"{URL}: the host '{host}' cannot be resolved ({error})") from error
    if not allow_private:
        for *_, address in found:
            if not ipaddress.ip_address(str(address[0]).split("%")[0]).is_global:
                raise RBRError(
                    f"{URL}: '{host}' is an address of this machine or a private network; set"
                    f" {ALLOW_PRIVATE}=true if that is meant"
                )
    return host


def notify(event: str, text: str, fields: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Tell of an event; a webhook that does not answer is told in the log and stops nothing.

    Args:
        event: ``gate_failed`` or ``released``.
        say: the run's log.
    """
    say(f"notification: {text}")
    url = os.environ.get(URL)
    if not url:
        return
    import requests

    try:
        host = check_address(url, os.environ.get(ALLOW_PRIVATE, "").lower() == "true")
        # A redirect could lead where the check would not have let it.
        answer = requests.post(
            url,
            json={"event": event, "text": text, **fields},
            timeout=PATIENCE,
            allow_redirects=False,
        )
        if not answer.ok or answer.is_redirect:
            say(f"the webhook at {host} answered {answer.status_code}: it was not told")
    except RBRError as error:
        say(f"not told to the webhook: {error}")
    except requests.RequestException as error:
        # Its text holds the address.
        say(f"the webhook cannot be reached ({type(error).__name__})")
