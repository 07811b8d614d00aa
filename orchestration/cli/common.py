"""What the commands share: options, the project's artifacts, tables and progress."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from orchestration.root import find_root
from rbr.errors import RBRError

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.context import Context
    from pipeline.reward import VariantReward
    from rbr.reward.rule_based_reward import RuleBasedReward
    from rbr.rules.rules import Rules


class _Lazy:
    """A console that loads Rich at its first use: many commands print plain lines alone."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, **self._options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)

    # Rich's live displays take their console as a context; that is looked up on the class.
    def __enter__(self) -> Any:
        return self._console.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._console.__exit__(*error)


console = cast("Console", _Lazy())
error_console = cast("Console", _Lazy(stderr=True))

RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="The project's root; by default the nearest folder above."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
PromptOption = Annotated[str, typer.Option(help="What the user says.")]
CompletionOption = Annotated[str, typer.Option(help="What the model answers.")]


def written_rules(root: Path | None) -> Rules:
    """The project's rules as they are written."""
    from rbr.rules.rules import load_rules

    return load_rules(find_root(root) / "rules")


def open_context(root: Path | None) -> Context:
    """The project's settings and artifacts, seen from the release, which reads them all."""
    from assets import graph_of
    from pipeline.context import Context
    from pipeline.profile import read_settings

    folder = find_root(root)
    settings = read_settings(folder)[1]
    artifacts = graph_of(settings)
    return Context(folder, settings, artifacts["model_release"], artifacts)


def artifact(context: Context, key: str) -> Path:
    """Folder of an artifact.

    Raises:
        RBRError: if it is not made yet, naming the folder and how to make it.
    """
    folder = context.path(key)
    if not (folder / "metrics.json").is_file():
        raise RBRError(f"no artifact '{key}' yet: `make demo` makes it", folder)
    return folder


def compiled_rules(context: Context) -> Rules:
    """The rules that the artifacts were made with.

    Raises:
        RBRError: if they are not compiled yet.
    """
    from rbr.rules.compiled import load_compiled

    return load_compiled(artifact(context, "rules"))


def load_reward(context: Context) -> RuleBasedReward:
    """The fitted reward: rules, weights, R_rm, and the grader without the grade store.

    Raises:
        RBRError: naming the first artifact that is missing, before any model is loaded.
    """
    return reward_of(context).rule_based


def reward_of(context: Context) -> VariantReward:
    """What ``load_reward`` loads, not loaded yet."""
    from pipeline.reward import VariantReward

    for key in ("base_model", "grader", "fitted_weights", "helpful_reward_model", "rules"):
        artifact(context, key)
    return VariantReward.of(context)


def check_response_type(rules: Rules, value: str | None, option: str = "--response-type") -> None:
    """Check an option that names a response type.

    Raises:
        RBRError: if the rules have no such response type.
    """
    if value is not None and value not in rules.response_types:
        allowed = ", ".join(rules.response_types)
        raise RBRError(f"{option} '{value}' is not one of {allowed}")


def print_json(value: Any) -> None:
    """Print JSON; numbers that it does not have (NaN, infinities) are null."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str | None = None,
    styles: Iterable[str] = (),
    left: bool = False,
    target: Console | None = None,
) -> None:
    """Print a table; titled columns after the first hold numbers, and are aligned to the right.

    Args:
        styles: of the first rows.
        left: all columns hold text.
        target: what it is printed on; standard output by default.
    """
    from rich.table import Table

    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column and not left else "left")
    style = iter(styles)
    for row in rows:
        table.add_row(*map(str, row), style=next(style, None))
    (console if target is None else target).print(table)


@contextmanager
def progress_bar(task: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar while the block runs; yields the callback that moves it."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=hidden) as bar:
        number = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(number, completed=done, total=total)


def check_target(folder: Path, mark: str) -> None:
    """Check a folder that a command replaces.

    Raises:
        RBRError: if it has content that is no earlier output, which has the file ``mark``.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).exists():
        raise RBRError(f"not empty, and without {mark}: give another folder", folder)
    if folder.exists() and not folder.is_dir():
        raise RBRError("a file stands here: give another folder", folder)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        RBRError: if it cannot be written there.
    """
    from rbr.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_answer(prompt: str, completion: str) -> None:
    """Check that there is something to grade.

    Raises:
        RBRError: if the prompt or the answer has no text.
    """
    from rbr.data.turns import has_content

    if not prompt.strip():
        raise RBRError("--prompt is empty: give what the user says")
    if not has_content(completion):
        raise RBRError("--completion has no text: give an answer to grade")


def make_folder(folder: Path, option: str) -> None:
    """Make a folder that results go to, before the work that takes long.

    Raises:
        RBRError: if it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RBRError(
            f"this folder cannot be made ({error.strerror}): give another {option}", folder
        ) from error
    if not os.access(folder, os.W_OK):
        raise RBRError(f"this folder cannot be written: give another {option}", folder)


def model_source(context: Context, name: str) -> Path | str:
    """A model's folder, by an artifact's key or path; or the name of a model on the hub.

    Raises:
        RBRError: if the name is meant for an artifact or a folder that is not there.
    """
    models = {key: of for key, of in context.graph.items() if of.folder == "models"}
    folders = [context.root / "models" / name, Path(name).expanduser()]
    folders += [context.path(name)] if name in models else []
    for folder in folders:
        if folder.is_dir():
            return folder
    parts = name.removeprefix("models/").split("/")
    if {of.name for of in models.values()} & set(parts):
        made = [
            of.path for of in models.values() if (context.root / of.path / "config.json").is_file()
        ]
        there = ", ".join(path.removeprefix("models/") for path in made)
        raise RBRError(
            f"no artifact '{name}'; there are: {there or 'none yet: `make demo` makes them'}"
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise RBRError(
            "no such folder: give a model's folder, an artifact or a hub name", Path(name)
        )
    return name
