"""A chat server on loopback that writes what a function of the request says."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 60},
}


class WritingServer:
    """``write(body)`` gives the content, a status to fail with, or a whole choice."""

    def __init__(self, write):
        self.requests, self.keys = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.keys.append(self.headers["Authorization"])
                said = write(body)
                choice = said if isinstance(said, dict) else {"finish_reason": "stop"}
                choice = {"index": 0, "message": {"role": "assistant", "content": said}} | choice
                content = json.dumps(
                    {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
                    | {"choices": [choice], "usage": USAGE}
                ).encode()
                self.send_response(said if isinstance(said, int) else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64  # all of a test's requests may come at once

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


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
