"""Files are written whole or not at all, and bad ones are named."""

import os

import pytest

from rbr.data.rows import CapabilityText, Preference
from rbr.errors import DataError, RBRError
from rbr.files import (
    append_rows,
    checked_rows,
    read_json,
    read_log,
    read_rows,
    replacing,
    write_json,
    write_rows,
)

GOOD = '{"id": "a", "family": "f", "conversation": [{"role": "user", "content": "q"}], "chosen": "x", "rejected": "y"}'


def test_an_error_leaves_the_former_file_and_no_rest(tmp_path):
    target = tmp_path / "kept.json"
    target.write_text("former")
    with pytest.raises(ValueError, match="stop"), replacing(target) as partial:
        partial.write_text("half")
        raise ValueError("stop")
    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_exchanged_as_a_whole(tmp_path):
    target = tmp_path / "artifact"
    target.mkdir()
    (target / "old").write_text("old")
    with replacing(target) as partial:
        partial.mkdir()
        (partial / "new").write_text("new")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_bad_line_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{GOOD}\n{{broken\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        read_rows(path, Preference)


def test_a_wrong_field_and_a_repeated_id_are_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD.replace('"chosen"', '"choosen"') + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: (choosen|chosen)"):
        read_rows(path, Preference)
    path.write_text(f"{GOOD}\n{GOOD}\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: id 'a' stands on line 1"):
        read_rows(path, Preference)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is wanted")
    with pytest.raises(RBRError, match="cannot write here"):
        write_json(blocked / "x.json", {})
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(RBRError, match="cannot write here"):
            write_json(tmp_path / "y.json", {})
        tmp_path.chmod(0o700)


def test_what_is_appended_after_a_torn_line_is_kept_too(tmp_path):
    log = tmp_path / "folder" / "log.jsonl"
    assert read_log(log) == []
    append_rows(log, [{"n": 1}, {"n": 2}])
    for torn in ('{"n": 3', '{"n": 3, "text": "caf\\u00'):
        with log.open("a") as file:
            file.write(torn)  # killed while writing
        assert read_log(log) == [{"n": 1}, {"n": 2}]
    append_rows(log, [{"n": 4}])
    append_rows(log, [{"n": 5}])
    assert read_log(log) == [{"n": 1}, {"n": 2}, {"n": 4}, {"n": 5}]
    assert log.read_text().count("\n") == 4


def test_a_log_of_a_torn_line_alone_begins_anew(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"n"')
    append_rows(log, [{"n": 1}])
    assert log.read_text() == '{"n": 1}\n'


def test_a_folder_is_read_in_name_order_and_ids_are_unique_over_its_files(tmp_path):
    (tmp_path / "b.jsonl").write_text(GOOD.replace('"a"', '"b"') + "\n")
    (tmp_path / "a.jsonl").write_text(GOOD + "\n")
    assert [row.id for row in read_rows(tmp_path, Preference)] == ["a", "b"]
    (tmp_path / "b.jsonl").write_text(GOOD + "\n")
    with pytest.raises(DataError, match=r"b\.jsonl:1: id 'a' stands on line 1 of a\.jsonl"):
        read_rows(tmp_path, Preference)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="file with rows"):
        read_rows(tmp_path, Preference)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"a": "\\ud83d"}', r"x\.json: half a character"),
        (b'{\n"a": \xff}', r"x\.json:2: not UTF-8 text: save it as UTF-8"),
        (b"[" * 100_000, r"x\.json: JSON that cannot be read"),
        (b"9" * 5000, r"x\.json: JSON that cannot be read"),
        (b"\n\n{", r"x\.json:3:2: not JSON"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, told):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_json(path)
    path.write_bytes(b'\xef\xbb\xbf{"a":\r\n "\\ud83d\\ude00"}')
    assert read_json(path) == {"a": "\U0001f600"}


def test_hidden_files_that_other_programs_leave_are_not_read(tmp_path):
    write_rows(tmp_path / "a.jsonl", [{"id": "a", "text": "x"}])
    (tmp_path / "._a.jsonl").write_bytes(b"\x00\x05\x16\xff")
    (tmp_path / ".#b.jsonl").write_text("no row")
    assert [row.id for row in read_rows(tmp_path, CapabilityText)] == ["a"]
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"no \*\.jsonl file with rows here"):
        read_rows(tmp_path, CapabilityText)


@pytest.mark.parametrize(
    ("encoding", "line"), [("latin-1", 2), ("cp1252", 2), ("utf-16", 1), ("utf-16-le", 1)]
)
def test_rows_in_another_encoding_are_told_once_with_the_mend(tmp_path, encoding, line):
    path = tmp_path / "a.jsonl"
    rows = [f'{{"id": "r{i}", "text": "{text}"}}\n' for i, text in enumerate(["a", "ñ", "b", "é"])]
    path.write_bytes("".join(rows).encode(encoding))
    told = [
        str(row) for _, row in checked_rows(tmp_path, CapabilityText) if isinstance(row, DataError)
    ]
    assert told == [f"{path}:{line}: not UTF-8 text: save it as UTF-8"]
    with pytest.raises(DataError, match=rf"a\.jsonl:{line}: not UTF-8 text: save it as UTF-8"):
        read_rows(path, CapabilityText)


def test_each_file_in_another_encoding_is_told(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes('{"id": "é"}\n{"id": "è"}\n'.encode("latin-1"))
    assert [str(place) for place, _ in checked_rows(tmp_path, CapabilityText)] == [
        f"{tmp_path / name}:1" for name in ("a.jsonl", "b.jsonl")
    ]
