"""``rbr new``: scaffolds of what a policy grows by; ``rbr rules check`` says what is left to write."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

app = typer.Typer(no_args_is_help=True, help="Add a proposition, a category or a response type.")

NameArgument = Annotated[str, typer.Argument(help="Of lower-case letters, digits and _.")]
LikeOption = Annotated[str | None, typer.Option(help="Which one to copy; the first by default.")]

NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
PROPOSITION = """\
# yaml-language-server: $schema=../.schema/proposition.json
# A yes/no statement on an answer. Put what each TODO asks for in its place: `rbr rules check` lists those left.
id: {name}
# The grader reads all of this. Ask for one thing alone.
question: TODO a question on the answer that yes or no answers, such as "Does the answer apologise?"
# What the words of the question mean, for people who label and have not read the policy.
definition: TODO one or two sentences on what counts
# The borderline: what is just enough, and what is just not.
true_when: TODO what an answer must have for a yes
false_when: TODO what is missing from an answer, or looks similar, where it is a no
# The sign that its weight should have: positive where it makes an answer better. Drop types that it is no feature of.
weight_sign:
{signs}
# Three or more of each side. Those that are nearly of the other side teach most.
examples:
  positive:
{positive}
  negative:
{negative}
"""
EXAMPLE = """\
  - user: TODO what a user says
    completion: TODO an answer, of which it is {value}"""


@app.command()
def proposition(name: NameArgument, root: common.RootOption = None) -> None:
    """Write a proposition's file, with a TODO for each text that is to be written."""
    from orchestration.cli.rules import least_support
    from rbr.rules.yaml import read_mapping

    project = common.find_root(root)
    rules = project / "rules"
    path, derived = rules / "propositions" / f"{name}.yaml", rules / "derived.yaml"
    _check_name(name)
    if path.exists():
        raise _taken(name, path)
    _check_free(name, [derived] if derived.exists() else [])
    types, least = read_mapping(rules / "response_types.yaml"), least_support(project)
    sides = {
        side: "\n".join([EXAMPLE.format(value=value)] * 3)
        for side, value in (("positive", "true"), ("negative", "false"))
    }
    signs = "\n".join(f"  {of}: TODO # positive, negative or free" for of in types)
    _write(project, {path: PROPOSITION.format(name=name, signs=signs, **sides)})
    common.console.print(
        f"then: add '{name}' to features in rules/reward.yaml, and label {least} or more gold rows of"
        " which it is true (`rbr data template gold` prints one)"
    )


@app.command()
def category(name: NameArgument, like: LikeOption = None, root: common.RootOption = None) -> None:
    """Add a category of prompts to the content policy, with the kinds of another one."""
    project = common.find_root(root)
    name = _category_name(name)
    path = project / "rules" / "content_policy.yaml"
    _check_free(name, [path])
    like = like or _first(path)
    note = f"As {like}: write the kinds of request, and the response type of each."
    _write(project, {path: _grown(path, name, like, note)})


@app.command("response-type")
def response_type(
    name: NameArgument, like: LikeOption = None, root: common.RootOption = None
) -> None:
    """Add a response type, with the classes, features and labels of another one."""
    project = common.find_root(root)
    _check_name(name)
    notes = {
        "response_types": "what is counted, and which classes are good enough",
        "completion_classes": "the classes, best first",
        "reward": "features, labels and their ordering",
    }
    paths = {project / "rules" / f"{file}.yaml": note for file, note in notes.items()}
    _check_free(name, paths)
    like = like or _first(next(iter(paths)))
    _write(
        project,
        {
            path: _grown(path, name, like, f"As {like}: change {note}.")
            for path, note in paths.items()
        },
    )


def _check_name(name: str) -> None:
    from ruamel.yaml import YAML

    # YAML takes some words, such as null, for other values.
    if not NAME.fullmatch(name) or YAML(typ="safe", pure=True).load(name) != name:
        raise RBRError(
            f"'{name}' is no name: take lower-case letters, digits and _, at most 60, a letter first,"
            " and not true, false or null"
        )


def _category_name(name: str) -> str:
    """The name as prompts are compared with it: words of any language."""
    from ruamel.yaml import YAML

    from rbr.rules.yaml import nfc

    name = nfc(name)
    plain = all(part.isprintable() and part not in ":#{}[]&*!|>'\"%@`," for part in name)
    worded = plain and any(part.isalpha() for part in name) and name == name.strip()
    if len(name) > 60 or not worded or YAML(typ="safe", pure=True).load(name) != name:
        raise RBRError(
            f"'{name}' is no name of a category: take words of letters, digits, - and _, at most 60"
            " characters, and not true, false or null"
        )
    return name


def _check_free(name: str, paths: Iterable[Path]) -> None:
    from rbr.rules.yaml import read_mapping

    for path in paths:
        entries = read_mapping(path)
        if name in entries:
            raise _taken(name, path, entries)


def _taken(name: str, path: Path, entries: CommentedMap | None = None) -> RBRError:
    from rbr.rules.yaml import place_of

    place = path if entries is None else place_of(path, entries, [name])
    return RBRError(f"'{name}' is there already: edit it, or take another name", place)


def _first(path: Path) -> str:
    from rbr.rules.yaml import read_mapping

    return str(next(iter(read_mapping(path)), ""))


def _grown(path: Path, name: str, like: str, note: str) -> str:
    """A rule file's text with a copy of the entry ``like`` at its end; what is there stays to the byte.

    Raises:
        RBRError: if there is no such entry, or the file is of a style that nothing can be added to.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from rbr.rules.yaml import read_mapping, suggest

    entries = read_mapping(path)
    if like not in entries:
        raise RBRError(f"--like: no '{like}' here; {suggest(like, entries)}", path)
    text = path.read_bytes().decode()
    yaml, entry = YAML(typ="rt", pure=True), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 110
    yaml.dump({name: _uncommented(yaml.load(text)[like])}, entry)
    added = f"{'' if text.endswith(chr(10)) else chr(10)}# {note}\n{entry.getvalue()}"
    text += added.replace("\n", "\r\n") if "\r\n" in text else added
    try:
        fits = [*YAML(typ="rt", pure=True).load(text)] == [*entries, name]
    except YAMLError:
        fits = False
    if not fits:
        raise RBRError("nothing can be added at its end: write its entries as 'name:' lines", path)
    return text


def _uncommented(value: Any) -> Any:
    """A copy in the same style. Comments speak of what was copied, and are left behind."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    copy: CommentedMap | CommentedSeq
    if isinstance(value, CommentedMap):
        copy = CommentedMap((key, _uncommented(item)) for key, item in value.items())
    elif isinstance(value, CommentedSeq):
        copy = CommentedSeq(map(_uncommented, value))
    else:
        return value
    if value.fa.flow_style():
        copy.fa.set_flow_style()
    return copy


def _write(project: Path, texts: Mapping[Path, str]) -> None:
    """Write all files or none, and say which."""
    from rbr.files import replacing

    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(replacing(path)).write_bytes(text.encode())
    for path in texts:
        common.console.print(f"wrote {path.relative_to(project)}")
    common.console.print("next: rbr rules check")
