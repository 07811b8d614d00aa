"""The command line ``rbr``."""

from rbr.cli.main import main

__all__ = ["main"]
