"""Whatever code makes an artifact is in its digest, and nothing else is."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

from assets import declarations
from orchestration import code_digests as digests
from pipeline.context import Context
from pipeline.profile import read_settings
from tests.orchestration.stages import GRAPH

NAMES = [declaration.name for declaration in declarations()]
EDIT = "_edited_by_a_test = 1\n"


@cache
def closure(name):
    return digests.closure(f"assets.{name}", name, digests.IGNORED)


def source_of(module):
    return digests._path(module).read_text()


def functions(text):
    """Every function and method of a module, inner ones too."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]


def edited(text, function):
    """The source with one more statement at the end of a function."""
    lines = text.splitlines(keepends=True)
    last = function.body[-1]
    indent = " " * last.col_offset
    lines.insert(last.end_lineno, f"{indent}{EDIT}")
    return "".join(lines)


class Reader:
    """Stands for ``Path.read_text``: one file is read as if it were edited."""

    def __init__(self, monkeypatch):
        self.path, self.text = None, ""
        plain = Path.read_text

        def read_text(path, *args, **kwargs):
            return self.text if path == self.path else plain(path, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", read_text)

    def digest(self, module, text):
        """The digest of the module if it held this text."""
        self.path, self.text = digests._path(module), text
        try:
            return digests._module_digest.__wrapped__(module)
        finally:
            self.path = None

    def artifact(self, name, text):
        """The digest of an artifact if its own module held this text."""
        self.path, self.text = digests._path(f"assets.{name}"), text
        try:
            return digests.function_digest(f"assets.{name}", name, digests.IGNORED)
        finally:
            self.path = None


@pytest.fixture
def reader(monkeypatch):
    return Reader(monkeypatch)


def test_an_edit_of_any_function_changes_its_modules_digest(reader):
    modules = sorted(set().union(*(closure(name) for name in NAMES)))
    assert len(modules) > 60
    for module in modules:
        text = source_of(module)
        before = digests._module_digest(module)
        for function in functions(text):
            changed = reader.digest(module, edited(text, function))
            assert changed != before, f"{module}.{function.name}"


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_is_stale_after_an_edit_in_its_closure_and_after_no_other(name, monkeypatch):
    before = digests.code_digests()[name]
    plain = digests._module_digest
    everything = [m for m in digests.import_graph().modules if not m.startswith("assets")]
    stale = set()
    for module in everything:
        monkeypatch.setattr(
            digests,
            "_module_digest",
            lambda own, edited=module: plain(own) + ("x" * (own == edited)),
        )
        if digests.function_digest(f"assets.{name}", name, digests.IGNORED) != before:
            stale.add(module)
    assert stale == closure(name)
    assert "pipeline.gates" not in stale
    assert not any(module.startswith(("rbr.serve", "rbr.scorers")) for module in stale)


def test_a_comment_or_a_docstring_makes_nothing_stale(reader):
    module = "rbr.training.ppo"
    text = source_of(module)
    before = digests._module_digest(module)
    assert reader.digest(module, f"# a remark\n{text}") == before
    doc = ast.get_docstring(ast.parse(text), clean=False)
    assert reader.digest(module, text.replace(doc, "Something else.", 1)) == before


def test_of_its_own_module_the_body_counts_and_not_the_gate_or_the_declaration(reader):
    name = "ppo_checkpoint"
    text = source_of(f"assets.{name}")
    before = digests.code_digests()[name]
    by_name = {function.name: function for function in functions(text)}
    for helper in ("ppo_checkpoint", "plot_history"):
        assert reader.artifact(name, edited(text, by_name[helper])) != before
    for gate in ("expectations", "reward_gain", "inputs"):
        assert reader.artifact(name, edited(text, by_name[gate])) == before
    assert 'group="training"' in text
    assert reader.artifact(name, text.replace('group="training"', 'group="other"')) == before


def test_a_gate_has_a_digest_of_its_own():
    artifact = GRAPH["rbr/ppo_checkpoint"]
    assert digests.gate_digest(artifact) != digests.code_digests()["ppo_checkpoint"]
    assert "pipeline.gates" in digests.closure(artifact.gate.__module__, artifact.gate.__name__)


def test_digests_are_written_once_and_only_when_they_change(tmp_path):
    folder = digests.write(tmp_path)
    assert {path.name for path in folder.iterdir()} == set(NAMES)
    before = folder.stat().st_mtime_ns
    digests.write(tmp_path)
    assert folder.stat().st_mtime_ns == before


@pytest.mark.smoke_graph
@pytest.mark.parametrize(
    "key", [k for k, a in GRAPH.items() if a.variant is None or k[:4] == "rbr/"]
)
def test_every_function_that_a_body_calls_is_in_its_closure(finished, tmp_path, key):
    """Seen by Python's own profiler while the body runs; the closure is computed from imports."""
    artifact = GRAPH[key]
    root = Path(digests.__file__).resolve().parent.parent
    called = set()

    def look(frame, event, _):
        if event == "call":
            called.add(frame.f_code.co_filename)

    context = Context(finished.root, read_settings(finished.root)[1], artifact, GRAPH)
    sys.setprofile(look)
    try:
        artifact.body(context, tmp_path)
    finally:
        sys.setprofile(None)
    ours = [Path(file) for file in called if Path(file).is_relative_to(root)]
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for path in ours
    }
    reached = {module for module in modules if module.partition(".")[0] in digests.PACKAGES}
    # Packages' __init__ and the declarations run at import; the body itself is hashed apart.
    at_import = {module for module in reached if module.partition(".")[0] == "assets"}
    packages = {module for module in reached if digests._path(module).name == "__init__.py"}
    # These say where an artifact lies and which settings there are: DVC compares those themselves.
    declared = {"pipeline.artifact", "pipeline.variants", "pipeline.profile", "rbr.options"}
    assert reached - at_import - packages - declared <= closure(artifact.name)
