"""Plans: parameters and operations against torch's own count, rows against what the steps make."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from rbr.errors import RBRError
from rbr.models.trunk import train_upper_layers
from orchestration.planning.amounts import amounts
from orchestration.planning.estimate import seconds
from orchestration.planning.measured import read_measured, read_wanted
from orchestration.planning.report import report, stages
from orchestration.planning.shapes import shape_of
from orchestration.planning.work import Count, Models
from orchestration.planning.workspace import EMBEDDED
from rbr.rules import load_rules
from pipeline.profile import read_settings
from rbr.steps import Context, safety_prompts
from rbr.steps import synthetic_comparisons as comparisons

ROOT = Path(__file__).parents[3]
MEASURED = ROOT / "deploy" / "plans" / "laptop.yaml"
LLAMA = LlamaConfig(
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    tie_word_embeddings=True,
)


def laptop():
    settings = read_settings(ROOT, "laptop")[1]
    return Context(ROOT, settings)


def counted(settings, shape, own=None):
    rates = read_measured(MEASURED)
    models = Models(shape, shape, EMBEDDED["minilm"])
    return Count(settings, own or amounts(laptop()), rates.lengths, models, rates.attempts)


@pytest.mark.parametrize(
    "model", [LlamaForCausalLM(LLAMA), BertModel(BertConfig(hidden_size=96, num_hidden_layers=2,
              num_attention_heads=4, intermediate_size=384, vocab_size=400))],
    ids=["llama", "bert"],
)  # fmt: skip
def test_parameters_are_the_models(model):
    shape = shape_of(model.config.to_dict())
    layers = sum(p.numel() for n, p in model.named_parameters() if ".layer" in n and p.dim() == 2)
    assert shape.num_hidden_layers * shape.layer == layers
    assert shape.head == model.get_input_embeddings().weight.numel()


def test_published_models_have_their_published_size():
    wanted = read_wanted(ROOT / "deploy" / "plans" / "h100.yaml")
    assert wanted.policy.parameters == pytest.approx(8.03e9, rel=2e-3)
    assert wanted.grader.parameters == pytest.approx(70.6e9, rel=2e-3)
    assert EMBEDDED["smollm2"].parameters == pytest.approx(134.5e6, rel=2e-3)


def operations(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_operations_of_fine_tuning_are_what_torch_counts():
    model, shape = LlamaForCausalLM(LLAMA), shape_of(LLAMA.to_dict())
    train_upper_layers(model, 2)
    ids = torch.randint(0, 512, (4, 16))
    settings = laptop().settings
    settings = settings.model_copy(
        update={"sft": settings.sft.model_copy(update={"trained_layers": 2})}
    )
    part = next(w for w in counted(settings, shape).steps() if w.step == "sft_checkpoint@rbr")
    found = operations(lambda: model(input_ids=ids, labels=ids).loss.backward())
    # The lowest trained layer needs no gradient of its input; attention's products are not counted.
    assert part.operations / part.tokens == pytest.approx(found / ids.numel(), rel=0.08)


def test_operations_of_reading_are_what_torch_counts():
    model, shape = LlamaForCausalLM(LLAMA), shape_of(LLAMA.to_dict())
    ids = torch.randint(0, 512, (4, 16))
    part = next(w for w in counted(laptop().settings, shape).steps() if w.kind == "read")
    with torch.no_grad():
        found = operations(lambda: model.model(input_ids=ids))
    assert part.operations / part.tokens == pytest.approx(found / ids.numel(), rel=0.06)


def test_rows_are_those_that_the_steps_make():
    context = laptop()
    rules = load_rules(ROOT / "rules")
    own = amounts(context)
    chosen = comparisons.chosen_prompts(safety_prompts.by_split(context, rules), context)
    made = [comparisons.composed(rows, context, rules, split) for split, rows in chosen.items()]
    assert own.comparisons == sum(map(len, made))
    ordered = len(comparisons.ordered(chosen["train"], context, rules))
    assert own.ordered == pytest.approx(ordered, rel=0.15)
    assert own.episodes == context.settings.rl.steps * context.settings.rl.prompts_per_step


def test_more_of_a_thing_costs_more_of_it_alone():
    own = amounts(laptop())
    once = counted(laptop().settings, EMBEDDED["smollm2"], own).steps()
    twice = counted(
        laptop().settings, EMBEDDED["smollm2"], own.with_(None, None, 2 * own.episodes)
    ).steps()
    for a, b in zip(once, twice, strict=True):
        assert b.tokens == pytest.approx(a.tokens * (2 if "ppo_checkpoint" in a.step else 1))


def test_decoding_is_no_faster_than_memory():
    wanted = read_wanted(ROOT / "deploy" / "plans" / "h100.yaml")
    rates = read_measured(MEASURED)
    models = Models(wanted.policy, wanted.grader, EMBEDDED["minilm"])
    settings = read_settings(ROOT, "gpu")[1]
    part = next(
        w for w in counted(settings, wanted.policy).steps() if w.kind == "generate" and w.passes
    )
    fast = wanted.model_copy(
        update={"device": wanted.device.model_copy(update={"flops": 1e30, "bandwidth": 1e12})}
    )
    weights = wanted.policy.parameters * wanted.device.number_bytes
    assert seconds(part, rates, fast, models) == pytest.approx(part.passes * weights / 1e12)


def test_each_step_has_a_line_and_they_add_up():
    found = report(ROOT)
    assert [line.step for line in found.lines] == stages()
    assert found.total.seconds == pytest.approx(sum(line.seconds for line in found.lines))
    assert all(line.tokens > 0 for line in found.lines if line.step.startswith("ppo_checkpoint"))


def test_a_large_plan_names_memory_and_store():
    found = report(ROOT, ROOT / "deploy" / "plans" / "h100.yaml")
    assert {name.split(",")[0] for name in found.bytes} == {
        "memory of training",
        "memory of grader",
        "store",
    }
    weights = found.bytes["memory of grader, each of 4"]["weights"]
    assert weights == pytest.approx(70.6e9 * 2 / 4, rel=0.01)


@pytest.fixture
def workspace(tmp_path):
    for name in ("rules", "profiles", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "data" / "source", tmp_path / "data" / "source")
    (tmp_path / "params.yaml").write_text("profile: laptop\n")
    return tmp_path


def test_rates_that_are_not_there_are_told(workspace):
    (workspace / "deploy" / "plans" / "laptop.yaml").unlink()
    with pytest.raises(RBRError, match=r"benchmarks/rates\.py writes them"):
        report(workspace)


def test_a_plan_that_is_wrong_names_the_key(workspace):
    path = workspace / "deploy" / "plans" / "h100.yaml"
    plan = yaml.safe_load(path.read_text())
    plan["device"]["flops"] = -1
    path.write_text(yaml.safe_dump(plan))
    with pytest.raises(RBRError, match=r"device\.flops"):
        report(workspace, path)
