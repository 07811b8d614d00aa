"""Comparisons of a policy without fragments: a chat model writes them, the grader confirms them."""

from dataclasses import replace

import pandas as pd
import pytest

from assets import synthetic_comparisons as asset
from pipeline.profile import Comparisons, Settings
from pipeline.run import NoRun
from rbr.comparisons.options import ChatWriterOptions
from rbr.files import iter_json_lines, write_rows
from rbr.rules.models import Completions
from tests.assets.bodies import compile_rules, context_of, make
from tests.rbr.comparisons.prompts import prompt
from tests.rbr.comparisons.test_chat_writer import wanted_of
from tests.rbr.comparisons.test_conditioned import Oracle
from tests.rbr.comparisons.writing_server import writing_servers


@pytest.fixture
def writing():
    """Starts chat servers that write what a test says."""
    with writing_servers() as start:
        yield start


class Noted(NoRun):
    def __init__(self):
        self.found, self.lines = {}, []

    def metrics(self, values, step=None):
        self.found.update(values)

    def log(self, text):
        self.lines.append(text)


@pytest.fixture
def project(tmp_path, rules, monkeypatch):
    """Prompts of two response types in each split; rules without wordings."""
    bare = replace(rules, completions=Completions())
    compile_rules(tmp_path, bare)
    (tmp_path / "data" / "safety_prompts").mkdir()
    for number, split in enumerate(("train", "validation", "eval")):
        kinds = ("hard_refusal", "comply")
        rows = [prompt(kind, 10 * number + i) for i, kind in enumerate(kinds * 2)]
        write_rows(tmp_path / "data" / "safety_prompts" / f"{split}.jsonl", rows)
    (tmp_path / "models" / "base_model").mkdir(parents=True)
    (tmp_path / "models" / "base_model" / "model.safetensors").write_text("weights")
    monkeypatch.setattr(asset, "stored_grader", lambda context, rules: Oracle(rules))
    return tmp_path


def made(project, server, **options):
    chat = ChatWriterOptions(
        address=server.address, served_name="m", prices={"prompt": 1.0, "completion": 2.0}
    )
    settings = Settings(comparisons=Comparisons(chat=chat, **options))
    context = replace(context_of(project, "synthetic_comparisons", settings), run=Noted())
    return context, make(context)


def test_each_prompt_of_each_split_gets_each_label_and_the_cost_is_recorded(
    project, writing, rules
):
    server = writing(wanted_of)
    context, metrics = made(project, server)
    labels = {kind: set(rules.reward[kind].labels) for kind in ("hard_refusal", "comply")}
    for split in ("train", "validation", "eval"):
        found = [row for _, row in iter_json_lines(context.folder / f"{split}.jsonl")]
        by_prompt = pd.DataFrame(found).groupby(["response_type", "prompt_id"])["label"].agg(set)
        assert len(by_prompt) == 4
        assert all(own == labels[kind] for (kind, _), own in by_prompt.items())
        assert {row["source"] for row in found} == {"generated"}
        assert all(row["confirmed"] for row in found)
    assert (
        metrics["share.generated"] == metrics["confirmed"] == metrics["eval.met.comply.full"] == 1
    )
    usage = context.run.found
    assert usage["comparisons_requests"] == len(server.requests) == 42
    assert (usage["comparisons_prompt"], usage["comparisons_completion"]) == (4200, 420)
    assert usage["comparisons_cost"] == pytest.approx((4200 * 1.0 + 420 * 2.0) / 1e6)
    assert (
        "train comparisons: 14 requests: 1,400 tokens read (840 cached), 140 written, cost 0.00"
        in (context.run.lines)
    )
    [part] = [p for p in asset.expectations(context) if p.name == "written labels"]
    assert len(part.frame) == 3 * 7
    assert part.frame["share"].min() == 1
    assert not (project / ".cache" / "unfinished" / "synthetic_comparisons").exists() or not list(
        (project / ".cache" / "unfinished" / "synthetic_comparisons").iterdir()
    )


def test_a_label_that_the_writer_refuses_fails_the_gate_and_is_not_made_up(project, writing):
    def declines(body):
        wanted = wanted_of(body)
        return "I can't help with that." if "disallowed_content" in wanted.split() else wanted

    context, metrics = made(project, writing(declines), attempts=2)
    found = [row for _, row in iter_json_lines(context.folder / "train.jsonl")]
    assert {row["label"] for row in found if row["response_type"] == "hard_refusal"} == {
        "ideal",
        "bad",
    }
    assert metrics["train.met.hard_refusal.disallowed"] == 0
    [part] = [p for p in asset.expectations(context) if p.name == "written labels"]
    assert part.frame["share"].min() == 0
