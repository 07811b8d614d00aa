"""``rbr serve``: the reward over HTTP."""

from __future__ import annotations

import ipaddress
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.common import RootOption, load_reward, open_context
from rbr.errors import RBRError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 8000,
    max_batch: Annotated[int, typer.Option(help="Completions scored in one call.", min=1)] = 64,
    max_wait_ms: Annotated[
        float, typer.Option(help="How long the first of a batch waits for others.", min=0)
    ] = 10,
    max_waiting: Annotated[
        int, typer.Option(help="Completions in the queue; beyond, requests get 429.", min=256)
    ] = 1024,
    chat_template: Annotated[
        str,
        typer.Option(help="Of OpenRLHF's prompts: chatml, plain, or a tokenizer's folder or name."),
    ] = "chatml",
    reward_folder: Annotated[
        Path | None,
        typer.Option("--reward", help="What `rbr reward export` wrote; the project's by default."),
    ] = None,
    root: RootOption = None,
) -> None:
    """Serve the reward over HTTP: own format, OpenRLHF's, and explanations (docs/serving.md).

    Requests need a bearer token where the environment has RBR_SERVE_TOKEN.
    """
    from pydantic import SecretStr

    from rbr.reward import RuleBasedReward
    from rbr.serve.app import create_app
    from rbr.serve.server import Server, bind
    from rbr.serve.settings import TOKEN_VARIABLE, ServeSettings

    token = os.environ.get(TOKEN_VARIABLE)
    if token is not None and not token.strip():
        raise RBRError(f"{TOKEN_VARIABLE} is set and blank: set it to a token, or unset it")
    settings = ServeSettings(
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_waiting=max_waiting,
        chat_template=chat_template,
        token=SecretStr(token.strip()) if token else None,
    )
    context = None if reward_folder else open_context(root)
    # The address first: a taken port should not cost the loading of models.
    with bind(host, port) as address:
        reward = (
            load_reward(context) if context else RuleBasedReward.from_pretrained(str(reward_folder))
        )
        server = Server(create_app(reward, settings), settings)
        shown, port = address.getsockname()[:2]
        print(f"serving on http://{f'[{shown}]' if ':' in shown else shown}:{port}", flush=True)
        if token is None and not ipaddress.ip_address(shown).is_loopback:
            print(
                f"warning: whoever reaches {shown} may ask: set {TOKEN_VARIABLE}, or leave out --host",
                file=sys.stderr,
            )
        with suppress(KeyboardInterrupt):
            server.run(sockets=[address])
