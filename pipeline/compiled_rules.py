"""The rules as the artifact ``rules`` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbr.errors import DataError
from rbr.rules.compiled import load_compiled

if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.rules.rules import Rules


def compiled_rules(context: Context) -> Rules:
    """The compiled rules: all artifacts of a run see the same ones, whatever is edited meanwhile.

    Raises:
        DataError: if they are not compiled yet.
    """
    folder = context.path("rules")
    if not folder.is_dir():
        raise DataError("the rules are not compiled: materialize 'rules' first", folder)
    return load_compiled(folder)
