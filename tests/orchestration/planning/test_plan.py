"""Plans: parameters and operations against torch's own count, rows against what the artifacts hold."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from assets import graph
from orchestration.planning.inputs import Measured, Shape, Target, read_plan_file
from orchestration.planning.report import report, scaled, workload
from orchestration.planning.rows import count_rows
from orchestration.planning.work import seconds
from pipeline.profile import read_settings
from rbr.comparisons.synthetic import chosen_prompts, composed, requested
from rbr.data.splits import policy_prompts
from rbr.errors import RBRError
from rbr.rules.rules import load_rules
from rbr.training.adapters import train_part
from rbr.training.options import LoRAOptions

ROOT = Path(__file__).parents[3]
PLANS = ROOT / "deploy" / "plans"
MEASURED = read_plan_file(PLANS / "laptop.yaml", Measured)
H100 = read_plan_file(PLANS / "h100.yaml", Target)
SETTINGS = read_settings(ROOT, "laptop")[1]
LLAMA = LlamaConfig(
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    tie_word_embeddings=True,
)


@pytest.fixture(scope="module")
def laptop():
    return workload(ROOT, SETTINGS, MEASURED)


def of_model(laptop, config, settings=SETTINGS):
    shape = Shape.model_validate(config.to_dict())
    return replace(laptop, settings=settings, policy=shape, grader=shape)


@pytest.mark.parametrize(
    "model", [LlamaForCausalLM(LLAMA), BertModel(BertConfig(hidden_size=96, num_hidden_layers=2,
              num_attention_heads=4, intermediate_size=384, vocab_size=400))],
    ids=["llama", "bert"],
)  # fmt: skip
def test_parameters_are_the_models(model):
    shape = Shape.model_validate(model.config.to_dict())
    layers = sum(p.numel() for n, p in model.named_parameters() if ".layer" in n and p.dim() == 2)
    assert shape.layers() == layers
    assert shape.head == model.get_input_embeddings().weight.numel()


@pytest.mark.parametrize("layers", [2, None])
def test_parameters_of_adapters_are_pefts(layers):
    model, _ = train_part(LlamaForCausalLM(LLAMA), layers, LoRAOptions(rank=3))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert Shape.model_validate(LLAMA.to_dict()).adapters(3, layers) == trained


def test_published_models_have_their_published_size():
    assert H100.policy.parameters == pytest.approx(8.03e9, rel=2e-3)
    assert H100.grader.parameters == pytest.approx(70.6e9, rel=2e-3)
    assert MEASURED.models["smollm2"].parameters == pytest.approx(134.5e6, rel=2e-3)


def operations(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("lora", [None, LoRAOptions(rank=1)], ids=["layers", "adapters"])
def test_operations_of_fine_tuning_are_what_torch_counts(laptop, lora):
    model, _ = train_part(LlamaForCausalLM(LLAMA), 2, lora)
    ids = torch.randint(0, 512, (4, 16))
    sft = SETTINGS.sft.model_copy(update={"trained_layers": 2, "lora": lora})
    works = of_model(laptop, LLAMA, SETTINGS.model_copy(update={"sft": sft})).works()
    part = next(work for work in works if work.artifact == "rbr/sft_checkpoint")
    found = operations(lambda: model(input_ids=ids, labels=ids).loss.backward())
    # The lowest trained layer needs no gradient of its input; attention's products are not counted.
    assert part.operations / part.tokens == pytest.approx(found / ids.numel(), rel=0.09)


def test_operations_of_reading_are_what_torch_counts(laptop):
    model = LlamaForCausalLM(LLAMA)
    ids = torch.randint(0, 512, (4, 16))
    part = next(work for work in of_model(laptop, LLAMA).works() if work.rate == "read")
    with torch.no_grad():
        found = operations(lambda: model.model(input_ids=ids))
    assert part.operations / part.tokens == pytest.approx(found / ids.numel(), rel=0.06)


def test_rows_are_those_that_the_artifacts_hold(laptop):
    options, seed, rules = SETTINGS.comparisons, SETTINGS.seed, load_rules(ROOT / "rules")
    folder = ROOT / "data" / "source" / "safety_prompts"
    prompts = policy_prompts(folder, rules, SETTINGS.prompts, seed)
    chosen = chosen_prompts(prompts, options.prompts_per_type, options.heldout_per_type, seed)
    drafts = [
        composed(own, rules, options.bad_per_prompt, 0, split) for split, own in chosen.items()
    ]
    assert laptop.rows.comparisons == sum(map(len, drafts))
    requests = requested(chosen["train"], rules, options.generated_share, seed)
    assert laptop.rows.requests == pytest.approx(len(requests), rel=0.15)
    assert laptop.rows.episodes == SETTINGS.rl.steps * SETTINGS.rl.prompts_per_step


def test_fewer_variants_are_less_work():
    settings = SETTINGS.model_copy(update={"variants": ("helpful", "rbr")})
    counts = count_rows(ROOT, settings)
    assert set(counts.demonstrations) == {"helpful", "rbr"}
    works = workload(ROOT, settings, MEASURED).works()
    trained = {work.artifact for work in works if work.artifact.endswith("/ppo_checkpoint")}
    assert trained == {"helpful/ppo_checkpoint", "rbr/ppo_checkpoint"}


def test_more_of_a_thing_costs_more_of_it_alone(laptop):
    target = H100.model_copy(update={"prompts": None, "episodes": 2 * laptop.rows.episodes})
    twice = replace(laptop, rows=scaled(laptop.rows, target))
    for a, b in zip(laptop.works(), twice.works(), strict=True):
        assert b.tokens == pytest.approx(a.tokens * (2 if "ppo_checkpoint" in a.artifact else 1))


def test_decoding_is_no_faster_than_memory():
    settings = read_settings(ROOT, "gpu8")[1]
    works = workload(ROOT, settings, MEASURED, H100).works()
    part = next(work for work in works if work.decoding_passes)
    device = H100.device.model_copy(update={"flops": 1e30, "bandwidth": 1e12})
    fast = H100.model_copy(update={"device": device})
    weights = H100.policy.parameters * device.number_bytes
    assert seconds(part, MEASURED, fast) == pytest.approx(part.decoding_passes * weights / 1e12)


def test_each_artifact_has_a_line():
    table = report(ROOT).table
    assert list(table.index) == list(graph(SETTINGS.variants))
    assert (table["seconds"] == table["busy"] + table["overhead"]).all()
    assert (table["overhead"] > 0).all()
    assert (table["tokens"][table.index.str.endswith("/ppo_checkpoint")] > 0).all()


def test_a_large_plan_names_memory_and_store():
    found = report(ROOT, PLANS / "h100.yaml")
    assert {name.split(",")[0] for name in found.bytes} == {
        "memory of training",
        "memory of the host",
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


def test_missing_rates_name_what_writes_them(workspace):
    (workspace / "deploy" / "plans" / "laptop.yaml").unlink()
    with pytest.raises(RBRError, match=r"benchmarks/rates\.py writes them"):
        report(workspace)


def test_a_model_of_unknown_shape_is_named(workspace):
    rates = workspace / "deploy" / "plans" / "laptop.yaml"
    (workspace / "params.yaml").write_text("profile: gpu8\n")
    with pytest.raises(RBRError, match="8B-Instruct' is not known: materialize base_model"):
        report(workspace, measured=rates)


def test_a_plan_that_is_wrong_names_the_key(workspace):
    path = workspace / "deploy" / "plans" / "h100.yaml"
    plan = yaml.safe_load(path.read_text())
    plan["device"]["flops"] = -1
    path.write_text(yaml.safe_dump(plan))
    with pytest.raises(RBRError, match=r"device\.flops"):
        report(workspace, path)
