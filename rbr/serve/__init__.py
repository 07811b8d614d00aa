"""The reward over HTTP, for trainers in other processes: ``rbr serve``."""

from rbr.serve.app import create_app
from rbr.serve.settings import TOKEN_VARIABLE, ServeSettings

__all__ = ["TOKEN_VARIABLE", "ServeSettings", "create_app"]
