"""The command line ``rbr``."""

from orchestration.cli.main import main

__all__ = ["main"]
