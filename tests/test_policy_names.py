"""The policy is data: no response type, class or proposition of the paper is named in Python."""

import ast
import re

import pytest

PACKAGES = ("rbr", "pipeline", "assets", "orchestration")
# The paper's published formats, and its figures beside ours.
OF_THE_PAPER = {"rbr/data/importers.py", "rbr/reward/weight_plots.py"}

# Plain words that name nothing of the policy where they stand: figures of a report, a key of a judge's answer.
OTHER_MEANING = {
    ("assets/safety_demonstrations.py", "comply"),
    ("assets/safety_eval.py", "ideal"),
    ("pipeline/release/comparison_table.py", "ideal"),
    ("rbr/evaluation/behaviour.py", "ideal"),
    ("rbr/grading/chat/reading.py", "judgement"),
}


@pytest.fixture(scope="module")
def names(rules):
    classes = {name for of in rules.classes.values() for name in of}
    return {*rules.response_types, *rules.proposition_names, *rules.derived, *classes}


def literals(text):
    """Line and value of every string of a module but docstrings."""
    tree = ast.parse(text)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def named(text, names):
    """The names that a module's strings have: alone, or of several words anywhere within."""
    return [
        (line, word)
        for line, value in literals(text)
        for word in ({value} | {w for w in re.findall(r"\w+", value) if "_" in w}) & names
    ]


def test_python_names_nothing_of_the_policy(root, names):
    paths = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    found = {path.relative_to(root).as_posix(): named(path.read_text(), names) for path in paths}
    assert len(found) > 150
    assert all(found[path] for path in OF_THE_PAPER)
    pairs = {(path, word) for path, of in found.items() for _, word in of}
    assert {pair for pair in pairs if pair[0] not in OF_THE_PAPER} <= OTHER_MEANING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('x = "comply"', [(1, "comply")]),
        ('x = f"propositions/disallowed_content.{y}"', [(1, "disallowed_content")]),
        ('def f():\n    """A docstring on comply."""\n    return "harm on comply prompts"', []),
    ],
)
def test_a_name_is_found_where_it_stands(text, expected, names):
    assert named(text, names) == expected
