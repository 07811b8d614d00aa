"""A chat server on loopback that writes what a function of the request says."""

from contextlib import contextmanager

from tests.loopback import LoopbackServer, send

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 60},
}


class WritingServer(LoopbackServer):
    """``write(body)`` gives the content, a status to fail with, or a whole choice."""

    def __init__(self, write):
        super().__init__()
        self._write = write

    def reply(self, handler, body, number):
        said = self._write(body)
        choice = said if isinstance(said, dict) else {"finish_reason": "stop"}
        choice = {"index": 0, "message": {"role": "assistant", "content": said}} | choice
        value = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        status = said if isinstance(said, int) else 200
        send(handler, status, value | {"choices": [choice], "usage": USAGE})


@contextmanager
def writing_servers():
    """Starts servers, and closes them at the end; see ``WritingServer``."""
    servers = []

    def start(write):
        servers.append(WritingServer(write))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
