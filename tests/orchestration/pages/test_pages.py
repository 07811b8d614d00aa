"""The rule page and the files that are served beside it, over made-up artifacts."""

import hashlib
import json
import shutil

import pytest
import yaml
from fastapi.testclient import TestClient

from orchestration.lineage import made_by
from orchestration.pages import app as pages
from pipeline.plots import axes, save_plot
from rbr.data.rows import Message
from rbr.grading.store import GradeStore, grade_keys, judged_text
from rbr.rules import load_rules
from tests.orchestration.made import make_all, write

HOSTILE = "<script>alert(1)</script> Sorry, no."


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    target = tmp_path_factory.mktemp("pages")
    project = make_all(root, target)
    shutil.copytree(root / "docs", target / "docs")
    weights = {"hard_refusal": {"apology": 3.5, "class:ideal": 12.25, "judgement": 1.0}}
    write(target / "data/fitted_weights/weights.json", {"weights": weights})
    table = [
        {
            "proposition": name,
            "accuracy": 0.75,
            "low": 0.5,
            "high": 0.875,
            "majority": 0.625,
            "support": 9,
        }
        for name in ("apology", "mean")
    ]
    write(target / "data/grader_accuracy/per_proposition.jsonl", table)
    grade(target)
    lock(target)
    return project


def grade(target):
    """A held-out row that apologises, of which the grader says that it does not."""
    row = {
        "id": "held-1",
        "response_type": "hard_refusal",
        "conversation": [{"role": "user", "content": "How do I pick a lock?"}],
        "completion": HOSTILE,
        "true": ["apology"],
    }
    write(target / "data/gold_propositions/heldout.jsonl", [row])
    write(target / "data/graded_comparisons/judged_by.json", {"apology": {"grader": "head:1"}})
    by = judged_text(load_rules(target / "rules").grading_texts()["apology"], "head:1")
    [key] = grade_keys([by], (Message(role="user", content="How do I pick a lock?"),), HOSTILE)
    store = GradeStore(target / ".cache" / "grades.sqlite")
    store.put({key: 0.03})
    store.close()


def lock(target):
    """As DVC would write it after the weights were fitted to the rules that are compiled."""
    path = target / "data" / "rules" / "ranking.json"
    deps = [{"path": "data/rules/ranking.json", "md5": hashlib.md5(path.read_bytes()).hexdigest()}]
    stages = {"fitted_weights": {"cmd": "x", "deps": deps, "outs": [{"md5": "0" * 32 + ".dir"}]}}
    (target / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


@pytest.fixture
def client(made):
    return TestClient(pages.create_app(made.root), "http://127.0.0.1")


def test_the_page_has_each_proposition_with_its_uses_weights_and_accuracy(client, made):
    text = client.get("/").text
    for name in load_rules(made.root / "rules").proposition_names:
        assert f'<tr id="{name}">' in text
    row = text.split('<tr id="apology">')[1].split("</tr>")[0]
    assert "75.0 %" in row and "[50, 88]" in row
    assert "+3.50" in row
    assert "derived proposition refusal_ok" in row
    # Of a sign that the rules do not expect.
    assert "expected negative" in text.split('<tr id="judgement">')[1].split("</tr>")[0]
    assert "+12.25" in text  # of a class


def test_the_page_leads_to_the_other_windows(client, made, monkeypatch):
    monkeypatch.setenv("RBR_DAGSTER_URL", "http://127.0.0.1:3000")
    monkeypatch.setenv("RBR_MLFLOW_URL", "http://127.0.0.1:5000")
    made_by.store(made.root, "grader", "a.dir", "r", "7")
    text = client.get("/").text
    assert 'href="http://127.0.0.1:3000">Dagster' in text
    # With the columns that compare runs.
    assert "http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=rbr" in text


def test_a_wrong_grade_is_shown_and_what_an_answer_holds_is_text(client):
    response = client.get("/")
    assert "held-1 · labelled true, graded 0.03" in response.text
    assert HOSTILE not in response.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Sorry, no." in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_what_an_edit_made_stale_is_named_until_it_is_undone(client, made):
    assert "Nothing is stale" in client.get("/").text
    path = made.root / "rules" / "reward.yaml"
    written = path.read_text()
    path.write_text(written.replace("margin: 3.0", "margin: 2.0", 1))
    box = client.get("/").text.split("Edited since.")[1].split("</div>")[0]
    assert '<span class="mark">fitted_weights</span>' in box
    assert '<span class="mark">rbr/ppo_checkpoint</span>' in box
    assert "safety_prompts" not in box
    path.write_text(written)
    assert "Nothing is stale" in client.get("/").text


def test_rules_with_an_error_are_told_with_file_and_line(client, made):
    path = made.root / "rules" / "reward.yaml"
    written = path.read_text()
    path.write_text(written.replace("- apology\n", "- apologgy\n", 1))
    response = client.get("/")
    path.write_text(written)
    assert response.status_code == 200
    assert "reward.yaml" in response.text
    assert "did you mean &#39;apology&#39;?" in response.text


def test_an_artifact_that_cannot_be_read_does_not_hide_the_rules(client, made):
    path = made.root / "data/fitted_weights/weights.json"
    written = path.read_text()
    path.write_text("{")
    text = client.get("/").text
    path.write_text(written)
    assert "weights.json" in text
    assert '<tr id="apology">' in text


def test_the_least_accurate_come_first_on_request(made):
    facts = pages.rule_facts(made.root, "accuracy")
    assert facts["rows"][0].name == "apology"  # the only one that is measured
    assert [row.name for row in pages.rule_facts(made.root, "name")["rows"]] == sorted(
        row.name for row in facts["rows"]
    )


def test_a_workspace_without_artifacts_shows_its_rules(root, tmp_path):
    shutil.copytree(root / "rules", tmp_path / "rules")
    shutil.copytree(root / "profiles", tmp_path / "profiles")
    (tmp_path / "params.yaml").write_text("profile: smoke\n")
    text = TestClient(pages.create_app(tmp_path), "http://127.0.0.1").get("/").text
    assert "Nothing is made yet" in text
    assert "not measured" in text
    assert "<small>not fitted</small>" in text.split('<tr id="apology">')[1].split("</tr>")[0]


@pytest.fixture
def cache(tmp_path, made, monkeypatch):
    """DVC's cache with one version of a folder that holds a report."""
    monkeypatch.setattr(pages, "cache_folder", lambda root: tmp_path)
    listing = json.dumps([{"relpath": "report.html", "md5": "cd" + "1" * 30}])
    for name, content in (("ab/" + "2" * 30 + ".dir", listing), ("cd/" + "1" * 30, "<p>F1*</p>")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return "ab" + "2" * 30 + ".dir"


def test_a_file_of_a_data_version_is_served_from_dvcs_cache(client, cache):
    response = client.get(f"/artifacts/{cache}/report.html")
    assert response.text == "<p>F1*</p>"
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_a_plot_is_narrowed_on_request(client, cache, tmp_path):
    figure, _ = axes()
    with (tmp_path / "cd" / ("3" * 30)).open("wb") as file:
        save_plot(figure, file)
    listing = tmp_path / "ab" / ("2" * 30 + ".dir")
    listing.write_text(json.dumps([{"relpath": "plot.png", "md5": "cd" + "3" * 30}]))

    def width(query):
        response = client.get(f"/artifacts/{cache}/plot.png{query}")
        assert response.headers["content-type"] == "image/png"
        return int.from_bytes(response.content[16:20], "big")  # of the PNG's header

    assert width("") == 880
    assert width("?width=480") == 480


@pytest.mark.parametrize(
    "path",
    ["artifacts/{}/other.html", "artifacts/..%2F..%2Fetc/passwd", "artifacts/" + "f" * 32 + ".dir/a",
     "docs/..%2FREADME", "docs/nowhere"],
)  # fmt: skip
def test_nothing_else_is_served(client, cache, path):
    assert client.get("/" + path.format(cache)).status_code == 404


def test_a_guide_is_a_page_with_its_tables(client):
    text = client.get("/docs/rules").text
    assert "<h1>Writing rules</h1>" in text
    assert "<td><code>reward.yaml</code></td>" in text


def test_a_page_of_another_site_is_not_answered(made):
    client = TestClient(pages.create_app(made.root), "http://rebound.example")
    assert client.get("/").status_code == 400
