"""Chat servers that write what a test says."""

import pytest

from tests.rbr.comparisons.writing_server import writing_servers


@pytest.fixture
def writing():
    """Starts chat servers that write what a test says."""
    with writing_servers() as start:
        yield start
