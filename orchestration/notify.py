"""Notifications of failed gates, alarms and releases: a log line, and a webhook if one is set.

``RBR_WEBHOOK_URL`` holds the webhook's address, which is a secret: only its host is ever shown. The
message is JSON with ``text``, as chat systems read it, and the fields that the text is made of.
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
TIMEOUT = 10.0  # seconds for the webhook's answer


def check_address(url: str, allow_private: bool = False) -> str:
    """Check a webhook's address; returns its host.

    Args:
        allow_private: allow addresses of this machine and its private network, where services may act
            on a request that nobody meant for them.

    Raises:
        RBRError: if it is not an http(s) address, cannot be resolved, or is private.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RBRError(f"{URL} is not an address ({error})") from None
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
                    f" {ALLOW_PRIVATE}=true to allow it"
                )
    return host


def notify(event: str, text: str, fields: Mapping[str, str], log: Callable[[str], None]) -> None:
    """Announce an event; a webhook that fails is logged and stops nothing.

    Args:
        event: ``gate_failed``, ``alarm`` or ``released``.
        log: writes a line to the run's log.
    """
    log(f"notification: {text}")
    url = os.environ.get(URL)
    if not url:
        return
    import requests

    try:
        host = check_address(url, os.environ.get(ALLOW_PRIVATE, "").lower() == "true")
        answer = requests.post(
            url,
            json={"event": event, "text": text, **fields},
            timeout=TIMEOUT,
            allow_redirects=False,  # a redirect could lead to an address that the check refuses
        )
        if not answer.ok or answer.is_redirect:
            log(f"the webhook at {host} answered {answer.status_code}: not notified")
    except RBRError as error:
        log(f"the webhook is not notified: {error}")
    except requests.RequestException as error:
        # The error's text contains the address.
        log(f"the webhook cannot be reached ({type(error).__name__})")
