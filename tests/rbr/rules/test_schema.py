"""The schemas that editors read are those of the models."""

import json

from rbr.rules.schema import schemas


def test_the_files_are_current(root):
    for name, schema in schemas().items():
        written = json.loads((root / "rules" / ".schema" / name).read_text())
        assert written == schema, "run python -m rbr.rules.schema"


def test_each_rule_file_names_a_schema_that_is_there(root):
    paths = [*(root / "rules").glob("*.yaml"), *(root / "rules" / "propositions").glob("*.yaml")]
    assert len(paths) == 31
    for path in paths:
        first = path.read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (path.parent / first.partition("=")[2]).is_file(), path
