"""The container file of ``rbr serve``: its instructions, paths and command are right, without a build."""

import json
import re
import shlex

import pytest
import typer.main

from orchestration.cli.main import app

INSTRUCTIONS = {
    "FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "CMD"
}  # fmt: skip


@pytest.fixture(scope="module")
def instructions(root):
    """(instruction, arguments) in order; comments dropped, continued lines joined."""
    text = (root / "deploy/serve/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [tuple(line.split(" ", 1)) for line in joined]


def one(instructions, name):
    [found] = [arguments for instruction, arguments in instructions if instruction == name]
    return found


def test_it_has_known_instructions_and_begins_with_its_base(instructions):
    assert {name for name, _ in instructions} == INSTRUCTIONS
    assert instructions[0][0] == "FROM"
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", instructions[0][1])


def test_what_it_copies_is_there_and_whole(root, instructions):
    copied = [shlex.split(args) for name, args in instructions if name == "COPY"]
    sources = [source for *some, _ in copied for source in some]
    assert all((root / source).exists() for source in sources)
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"tests"}
    assert packages <= {*sources}


def test_its_command_is_one_that_the_command_line_takes(instructions):
    program, command, *arguments = json.loads(one(instructions, "CMD"))
    assert program == "rbr"
    found = typer.main.get_command(app).commands[command]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options
    assert arguments[arguments.index("--port") + 1] == one(instructions, "EXPOSE")


def test_its_health_check_asks_the_port_that_is_served(instructions):
    _, program = one(instructions, "HEALTHCHECK").split("CMD ")
    python, flag, code = json.loads(program)
    assert (python, flag) == ("python", "-c")
    compile(code, "healthcheck", "exec")
    assert f":{one(instructions, 'EXPOSE')}/healthz" in code


def test_it_does_not_run_as_root(instructions):
    names = [name for name, _ in instructions]
    assert names.index("USER") < names.index("CMD")
    assert one(instructions, "USER") not in ("root", "0")
