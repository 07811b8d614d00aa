"""Chat servers that write what a test says."""

import pytest

from tests.rbr.comparisons.writing_server import WritingServer


@pytest.fixture
def writing():
    """Starts servers; see ``WritingServer``."""
    servers = []

    def start(write):
        servers.append(WritingServer(write))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
