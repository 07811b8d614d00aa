"""What a killed run must not leave behind."""

import json

from tests.orchestration.conftest import Workspace


def assert_whole(workspace: Workspace) -> None:
    """DVC is clean, and nothing half-written lies about."""
    status = workspace.run("-m", "dvc", "status", "--json")
    assert json.loads(status.stdout) == {}, status.stdout
    for folder in ("data", "models"):
        paths = (workspace.root / folder).rglob(".*")
        assert [path for path in paths if path.suffix in (".partial", ".former")] == []
