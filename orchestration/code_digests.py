"""Which code makes an artifact: everything that its body's module imports, directly or not.

A digest is over the parsed code, so that a comment or a docstring makes nothing stale. Of the
artifact's own module only what the body reaches counts: its declaration and its gate decide when it is
made and whether it is used, not what it is.

``python -m orchestration.code_digests`` writes ``data/code``, a file for each artifact: the stage
``code`` of ``dvc.yaml``, on which all others depend.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

from assets import declarations
from pipeline.artifact import Artifact
from rbr.files import replacing

PACKAGES = ("rbr", "pipeline", "assets")
FOLDER = Path("data") / "code"
# Read by gates alone, which change nothing of an artifact.
IGNORED = frozenset({"pipeline.gates"})


@cache
def import_graph() -> grimp.ImportGraph:
    """The imports of our packages, those inside functions too, those for typing alone left out."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


@cache
def code_digests() -> dict[str, str]:
    """Digest of the code that makes each artifact, by the artifact's name."""
    names = [declaration.name for declaration in declarations()]
    return {name: function_digest(f"assets.{name}", name, IGNORED) for name in names}


def gate_digest(artifact: Artifact) -> str:
    """Digest of the code of an artifact's gate and alarm: other expectations may pass another verdict."""
    checks = [check for check in (artifact.gate, artifact.alarm) if check]
    return " ".join(function_digest(check.__module__, check.__name__) for check in checks)


def closure(module: str, function: str, ignored: frozenset[str] = frozenset()) -> set[str]:
    """Modules that a function reaches, its own left out."""
    graph = import_graph()
    imported = _reached(module, function, graph.modules)[1] - ignored
    found = set(imported)
    for name in imported:
        found |= graph.find_upstream_modules(name)
    return found - ignored


def function_digest(module: str, function: str, ignored: frozenset[str] = frozenset()) -> str:
    """Digest of a function, of what it reaches in its module, and of the modules it reaches."""
    statements, _ = _reached(module, function, import_graph().modules)
    digest = hashlib.sha256("\n".join(ast.dump(node) for node in statements).encode())
    for name in sorted(closure(module, function, ignored)):
        digest.update(f"\n{name} {_module_digest(name)}".encode())
    return digest.hexdigest()[:32]


def write(root: Path) -> Path:
    """Write the digests under ``root``; returns their folder."""
    digests = code_digests()
    if _written(root) != digests:
        with replacing(root / FOLDER) as folder:
            folder.mkdir()
            for name, digest in digests.items():
                (folder / name).write_text(f"{digest}\n", encoding="utf-8")
    return root / FOLDER


def _written(root: Path) -> dict[str, str]:
    folder = root / FOLDER
    if not folder.is_dir():
        return {}
    return {path.name: path.read_text(encoding="utf-8").strip() for path in folder.iterdir()}


@cache
def _module_digest(module: str) -> str:
    """Digest of a module's code, and of the files beside it that are no code (templates)."""
    path = _path(module)
    digest = hashlib.sha256(ast.dump(_parsed(path)).encode())
    for beside in sorted(path.parent.iterdir()):
        if beside.is_file() and beside.suffix not in (".py", ".pyc"):
            digest.update(beside.read_bytes())
    return digest.hexdigest()


def _path(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _parsed(path: Path) -> ast.Module:
    """The code without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body[0] = ast.Pass()
    return tree


def _reached(module: str, body: str, modules: set[str]) -> tuple[list[ast.stmt], set[str]]:
    """Statements of a module that a function of it reaches, and the modules that these import."""
    tree = _parsed(_path(module))
    defined = {name: node for node in tree.body for name in _defines(node)}
    pending, found = [body], dict[int, ast.stmt]()
    while pending:
        node = defined.get(pending.pop())
        if node is None or id(node) in found:
            continue
        if isinstance(node, ast.FunctionDef) and node.name == body:
            node.decorator_list = []  # the declaration
        found[id(node)] = node
        pending += [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    statements = [node for node in tree.body if id(node) in found]
    imported = {name for node in statements for name in _imports(node, modules)}
    return [node for node in statements if not _is_import(node)], imported


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _defines(node: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (part.id for part in targets if isinstance(part, ast.Name))


def _imports(statement: ast.stmt, modules: set[str]) -> Iterator[str]:
    """Modules of ours that a statement imports, inside functions too."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules or node.module in modules:
                    yield inner if inner in modules else node.module


if __name__ == "__main__":
    print(f"wrote {write(Path.cwd())}")
