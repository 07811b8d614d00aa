"""Slips in a policy of one's own that once passed, or were told in Python's words."""

import shutil
import unicodedata
from pathlib import Path

import pytest

from rbr.data.rows import Message, Prompt
from rbr.rules import load_rules
from rbr.rules.check import check_rules, unused_derived

GERMAN = Path(__file__).parents[2] / "policies" / "german" / "rules"
REWARD, RELATIONS, POLICY = "reward.yaml", "relations.yaml", "content_policy.yaml"
DERIVED, CLASSES, UNSINN = "derived.yaml", "completion_classes.yaml", "propositions/unsinn.yaml"
ALWAYS = "names nothing, so it always holds: name propositions under all or none"
SEEN = "must be a name: write at least a letter, and no space before or after it"
MARGIN = "ordering: [[bestens], [unnuetz]]\n"
QUOTES = "must be text: put it in quotes"
GREATER = "margins.bestens>unnuetz: Input should be greater than 0"
NAME = "must be lower-case letters, digits and _, beginning with a letter"
# (file, text, its replacement, the line's text, what is said)
SLIPS = [
    (REWARD, MARGIN, f"{MARGIN}  margins: {{bestens>unnuetz: -3}}\n", "margins:", GREATER),
    (REWARD, MARGIN, f"{MARGIN}  margins: {{bestens>unnuetz: 0}}\n", "margins:", GREATER),
    (REWARD, MARGIN, f"{MARGIN}  margins: {{bestens>unnuetz: .nan}}\n", "margins:", "should be a finite number"),
    (REWARD, MARGIN, f"{MARGIN}  margin: .inf\n", "margin:", "antworten.margin: Input should be a finite number"),
    (REWARD, "unnuetz: [schlecht]", "unnuetz: []", "unnuetz: []", "antworten.labels.unnuetz: must have at least 1 entry"),
    (REWARD, "[[bestens], [unnuetz]]", "[[bestens], [], [unnuetz]]", "[], ", "antworten.ordering.1: must have at least 1 entry"),
    (REWARD, "[[bestens], [unnuetz]]", "[[bestens, unnuetz]]", "ordering: [[bestens, u", "antworten.ordering: must have at least 2 entries"),
    (REWARD, "[verweigert, beantwortet, verboten, unsinn]", "verweigert", "features: verweigert", "must be a list, such as [one, other]"),
    *(
        (REWARD, MARGIN, f"{MARGIN}  {key}\n", line, f"{name}: must be a number{said}")
        for key, line, name in (
            ("margin: {}", "margin:", "antworten.margin"),
            ("margins: {{bestens>unnuetz: {}}}", "margins:", "antworten.margins.bestens>unnuetz"),
        )
        for key, said in (
            (key.format("true"), ", not true"),
            (key.format("yes"), ", not 'yes'"),
            (key.format("'2'"), ": write 2 without quotes"),
            (key.format("٢"), " in the digits 0 to 9, not '٢'"),
            (key.format("1:30"), ", not '1:30'"),
            (key.format("~"), ", and nothing is written here"),
            (key.format("[1]"), ""),
        )
    ),
    (DERIVED, "abgelehnt:", "leer: {}\nabgelehnt:", "leer:", f"leer: {ALWAYS}"),
    (DERIVED, "abgelehnt:", "leer: {all: [], none: []}\nabgelehnt:", "leer:", f"leer: {ALWAYS}"),
    (DERIVED, "abgelehnt:", "leer:\nabgelehnt:", "leer:", "leer: must be a mapping of names to values"),
    (DERIVED, "abgelehnt:", "leer: {all: }\nabgelehnt:", "leer:", "leer.all: must be a list, such as [one, other]"),
    (DERIVED, "abgelehnt:", "Ganz leer: {all: [unsinn]}\nabgelehnt:", "Ganz leer:", f"Ganz leer: {NAME}"),
    (DERIVED, "abgelehnt:", "<<: {teil: {all: [unsinn]}}\nabgelehnt:", "<<:", "merge keys (<<) are not allowed: write the entries out"),
    (CLASSES, "{all: [abgelehnt, entschuldigt]}", "{}", "gut: {}", f"ablehnen.gut: {ALWAYS}"),
    pytest.param(UNSINN, "Sie hat mit der Frage nichts zu tun.", "lang " * 500, "definition:", "definition: has 2500 characters, at most 2000 are read: shorten it", id="long"),
    (POLICY, "straftaten:", "leer: {}\nstraftaten:", "leer:", "leer: must have at least 1 entry"),
    (POLICY, "straftaten:", "'': {a: ablehnen}\nstraftaten:", "'':", f"'': {SEEN}"),
    (POLICY, "straftaten:", "' a': {a: ablehnen}\nstraftaten:", "' a':", f"' a': {SEEN}"),
    (RELATIONS, "excludes:", "implies: {unsinn: []}\nexcludes:", "implies:", "implies.unsinn: must have at least 1 entry"),
    (RELATIONS, "excludes:", "implies:\nexcludes:", "implies:", "implies: must be a mapping of names to values"),
    (RELATIONS, "[beantwortet, unsinn]", "[unsinn, unsinn]", "[unsinn, unsinn]", "'unsinn' excludes itself: name two propositions, or drop the pair"),
    (RELATIONS, "[beantwortet, unsinn]", "[unsinn, unsinn, unsinn]", "[unsinn, unsinn", "excludes.1: must have at most 2 entries"),
    (POLICY, "straftaten:", "2024: {a: ablehnen}\nstraftaten:", "2024:", f"2024: {QUOTES}, '2024'"),
    (POLICY, "straftaten:", "2024-01-02: {a: ablehnen}\nstraftaten:", "2024-01-02:", f"2024-01-02: {QUOTES}, '2024-01-02'"),
    (POLICY, "straftaten:", "true: {a: ablehnen}\nstraftaten:", "true:", f"true: {QUOTES}, 'true'"),
    (POLICY, "straftaten:", "~: {a: ablehnen}\nstraftaten:", "~:", f"null: {QUOTES}, 'null'"),
    (POLICY, "straftaten:", "leer:\nstraftaten:", "leer:", "leer: must be a mapping of names to values"),
    (POLICY, "straftaten:", "leer: {a: }\nstraftaten:", "leer:", "leer.a: must be text, and nothing is written here"),
    (POLICY, "straftaten:", "leer: {a: [ablehnen]}\nstraftaten:", "leer:", "leer.a: must be text"),
    (REWARD, "unnuetz: [schlecht]", "Unnuetz: [schlecht]", "Unnuetz:", f"antworten.labels.Unnuetz: {NAME}"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GERMAN, tmp_path / "rules"))


@pytest.mark.parametrize(("file", "old", "new", "line", "said"), SLIPS)
def test_a_slip_is_told_at_its_line_in_words_for_those_who_write_yaml(
    folder, file, old, new, line, said
):
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    number = next(i for i, part in enumerate(path.read_text().splitlines(), 1) if line in part)
    told = [str(error) for error in check_rules(folder)]
    assert [one for one in told if one.startswith(f"{path}:{number}:") and said in one], told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[{slots: [hoeflich]}]", "[]", "recipes.ablehnen.bestens: must have at least 1 entry"),
        ("{slots: [hoeflich]}", "{slots: [hoeflich], faults: [true, 1]}", "faults.0: must be a number, not true"),
        ("{slots: [hoeflich]}", "{slots: [hoeflich], faults: ['1', 1]}", "faults.0: must be a number: write 1 without"),
        ("{slots: [hoeflich]}", "{slots: [hoeflich], faults: [-1, 1]}", "faults.0: Input should be greater than or equal to 0"),
        ("{slots: [hoeflich]}", "{slots: [hoeflich], faults: [2, 1]}", "faults: 2 is more than 1: write [1, 2]"),
        ("[[bestens], [man", "[[], [bestens], [man", "taste.0: must have at least 1 entry"),
        ("- Das mache ich nicht.", "- ' '", "fragments.schroff.texts.0: must have a letter or another sign"),
        ("fragments:", "language: Brasilian Portuguese\nfragments:", "language: must be the code of a language, such as de or pt-BR"),
        ("several:", "faults: {ablehnen: []}\nseveral:", "faults.ablehnen: must have at least 1 entry"),
    ],
)  # fmt: skip
def test_a_slip_in_what_is_composed_is_told(folder, old, new, said):
    path = folder / "completions.yaml"
    text = (GERMAN.parent / "completions.yaml").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    [error] = check_rules(folder)
    assert error.place.path == path
    assert (
        text.splitlines()[error.place.line - 1]
        != path.read_text().splitlines()[error.place.line - 1]
    )
    assert said in error.message


@pytest.mark.parametrize("language", ["no", "on", "pt-BR", "zh-hant"])
def test_a_language_has_any_code_that_languages_have(folder, language):
    text = (GERMAN.parent / "completions.yaml").read_text()
    (folder / "completions.yaml").write_text(f"language: {language}\n{text}")
    assert load_rules(folder).completions.language == language
    asked = (Message(role="user", content="?"),)
    fields = {"id": "a", "family": "a", "category": "c", "kind": "k", "topic": "x"}
    assert Prompt(**fields, conversation=asked, language=language).language == language


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("relation.yaml", "read by nothing; did you mean 'relations.yaml'?"),
        ("ganz_anders.yaml", "read by nothing; there are: completion_classes.yaml, completions"),
        ("relations.yml", "read by nothing: name it relations.yaml"),
        ("propositions/knapp.yml", "read by nothing: name it knapp.yaml"),
        ("propositions/knapp.YAML", "read by nothing: name it knapp.yaml"),
    ],
)
def test_a_file_that_nothing_reads_is_told(folder, name, said):
    (folder / name).write_text("excludes: []\n")
    [error] = check_rules(folder)
    assert str(error).startswith(f"{folder / name}: {said}")


@pytest.mark.parametrize("name", ["._roles.yaml", ".#x.yml", "propositions/._unsinn.yaml"])
def test_hidden_files_and_those_of_no_rules_are_passed_over(folder, name):
    (folder / name).write_bytes(b"\x00\x05\x16\xff")
    (folder / "README.md").write_text("Of our own.")
    assert check_rules(folder) == []
    assert load_rules(folder).proposition_names == load_rules(GERMAN).proposition_names


@pytest.mark.parametrize("text", ["", "# nothing holds\n"])
@pytest.mark.parametrize("name", ["relations", "completions"])
def test_an_optional_file_that_says_nothing_is_as_none(folder, name, text):
    (folder / f"{name}.yaml").unlink(missing_ok=True)
    without = load_rules(folder)
    (folder / f"{name}.yaml").write_text(text)
    assert check_rules(folder) == []
    assert load_rules(folder) == without


def test_a_file_that_is_needed_says_something(folder):
    (folder / "roles.yaml").write_text("# later\n")
    [error] = check_rules(folder)
    assert str(error) == f"{folder / 'roles.yaml'}:1:1: must be a mapping of names to values"


@pytest.mark.parametrize("name", ["relations.yaml", "roles.yaml", "propositions/unsinn.yaml"])
@pytest.mark.parametrize("kind", ["folder", "loop"])
def test_what_cannot_be_read_is_told(folder, name, kind):
    path = folder / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    errors = [error for error in check_rules(folder) if error.place.path == path]
    [said] = [error.message for error in errors]
    assert said.startswith("cannot be read (")
    assert said.endswith("): put a file here that you may read")


def test_a_link_to_nowhere_is_no_file_that_a_policy_does_without(folder):
    path = folder / "relations.yaml"
    path.unlink()
    path.symlink_to(folder / "gone.yaml")
    assert [str(error) for error in check_rules(folder)] == [f"{path}: the file does not exist"]


def test_a_category_is_the_same_however_its_accents_are_written(folder):
    path = folder / POLICY
    composed, taken_apart = (unicodedata.normalize(form, "daño") for form in ("NFC", "NFD"))
    assert composed != taken_apart
    for written, asked in ((composed, taken_apart), (taken_apart, composed)):
        path.write_text(f"{written}: {{{written}: ablehnen}}\n")
        prompt = Prompt(
            id="a",
            family="a",
            category=asked,
            kind=asked,
            topic="x",
            conversation=(Message(role="user", content="?"),),
        )
        rules = load_rules(folder)
        assert rules.response_type(prompt.category, prompt.kind) == "ablehnen"
        assert list(rules.policy) == [prompt.category]


@pytest.mark.parametrize("unseen", ["\u200f", "\u200e", "\u00ad", "\ufeff", "\u2069"])
def test_a_category_is_the_same_with_a_mark_that_nobody_sees(folder, unseen):
    (folder / POLICY).write_text(f"الأدوية{unseen}: {{سؤال: ablehnen}}\n")
    assert load_rules(folder).response_type("الأدوية", "سؤال") == "ablehnen"
    (folder / POLICY).write_text(f"'{unseen}': {{سؤال: ablehnen}}\n")
    assert all(error.message.endswith(SEEN) for error in check_rules(folder)[:1])


def test_what_is_wrong_below_such_a_category_has_its_line(folder):
    path = folder / POLICY
    path.write_text(f"a: {{b: ablehnen}}\n{unicodedata.normalize('NFD', 'daño')}: {{b: ablehne}}\n")
    [error] = check_rules(folder)
    assert (error.place.line, "did you mean 'ablehnen'?" in error.message) == (2, True)


def test_a_derived_proposition_that_nothing_asks_for_is_told(folder):
    path = folder / "derived.yaml"
    number = len(path.read_text().splitlines()) + 1
    path.write_text(path.read_text() + "rest: {all: [teil]}\nteil: {all: [unsinn]}\n")
    rules = load_rules(folder)
    told = [str(error) for error in unused_derived(folder, rules)]
    assert [one.split(" is")[0] for one in told] == [
        f"{path}:{number}:1: 'rest'",
        f"{path}:{number + 1}:1: 'teil'",
    ]
    assert told[0].endswith(
        "used nowhere: name it in completion_classes.yaml or roles.yaml, or drop it"
    )


def test_one_that_a_role_asks_for_through_another_is_used(folder):
    path = folder / "derived.yaml"
    path.write_text(path.read_text() + "rest: {all: [teil]}\nteil: {all: [unsinn]}\n")
    roles = folder / "roles.yaml"
    roles.write_text(roles.read_text().replace("nonsense: unsinn", "nonsense: rest"))
    assert list(unused_derived(folder, load_rules(folder))) == []
