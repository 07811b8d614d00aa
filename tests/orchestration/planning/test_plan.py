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
from orchestration.planning.work import SERVED, seconds
from pipeline.profile import ExternalSet, read_settings
from rbr.comparisons.options import ChatWriterOptions
from rbr.comparisons.synthetic import chosen_prompts, composed, requested
from rbr.data.splits import policy_prompts
from rbr.errors import RBRError
from rbr.grading.options import ChatOptions
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
    requests = requested(
        chosen["train"], rules, options.generated_share, options.bad_per_prompt, seed
    )
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


CHAT = {"address": "http://127.0.0.1:1/v1", "served_name": "m"}


def comparisons_by(chat, **changes):
    options = SETTINGS.comparisons.model_copy(update={"chat": ChatWriterOptions(**chat), **changes})
    return SETTINGS.model_copy(update={"comparisons": options})


def test_what_a_chat_server_writes_is_counted_in_tokens_and_takes_no_time_here(laptop):
    served = replace(laptop, settings=comparisons_by(CHAT))
    [part] = [work for work in served.works() if work.rate == SERVED]
    samples = laptop.rows.requests * MEASURED.attempts
    lengths = MEASURED.lengths
    assert part.tokens == pytest.approx(samples * (lengths.chat_request + lengths.generated))
    assert (part.operations, seconds(part, MEASURED, None), seconds(part, MEASURED, H100)) == (
        0,
        0,
        0,
    )
    decoded = [w for w in served.works() if (w.artifact, w.rate) == (part.artifact, "generate")]
    assert decoded == []


def test_a_plan_states_what_a_chat_server_takes_and_costs(workspace):
    path = workspace / "profiles" / "laptop.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["comparisons"]["chat"] = {**CHAT, "prices": {"prompt": 2.0, "completion": 5.0}}
    path.write_text(yaml.safe_dump(profile))
    found = report(workspace)
    work = workload(workspace, read_settings(workspace)[1], MEASURED)
    samples, lengths = work.rows.requests * MEASURED.attempts, MEASURED.lengths
    cost = samples * (2.0 * lengths.chat_request + 5.0 * lengths.generated) / 1e6
    [note] = [note for note in found.notes if note.startswith("comparisons by m:")]
    assert f"{samples:,.0f} requests" in note
    assert note.endswith(f"at a cost of {cost:,.2f} (comparisons.chat)")
    assert found.table["served"].sum() == found.table.loc["synthetic_comparisons", "served"] > 0


def test_rules_without_recipes_are_written_on_request(workspace, laptop):
    (workspace / "rules" / "completions.yaml").unlink()
    counts = count_rows(workspace, SETTINGS)
    assert counts.comparisons == 0
    rules = load_rules(workspace / "rules")
    prompts = policy_prompts(workspace / "data/source/safety_prompts", rules, SETTINGS.prompts, 0)
    options = SETTINGS.comparisons
    chosen = chosen_prompts(prompts, options.prompts_per_type, options.heldout_per_type, 0)
    made = [requested(own, rules, 0.0, options.bad_per_prompt, 0) for own in chosen.values()]
    assert counts.requests == sum(map(len, made))
    assert scaled(counts, H100).requests == H100.prompts * H100.completions_per_prompt


def graded_by(laptop, **chat):
    """Tokens that a chat grader reads of the held-out gold rows, by rate."""
    options = SETTINGS.grader.model_copy(update={"engine": "chat", "chat": ChatOptions(**chat)})
    settings = SETTINGS.model_copy(update={"grader": options})
    works = replace(laptop, settings=settings).works()
    [part] = [work for work in works if work.artifact == "grader_accuracy"]
    return part


def test_propositions_in_one_request_share_the_conversation(laptop):
    count, lengths = laptop.rows.propositions, MEASURED.lengths
    single, eight, every = (graded_by(laptop, group=group) for group in (1, 8, "all"))
    assert {single.rate, eight.rate, every.rate} == {SERVED}
    fresh = lengths.gold + lengths.chat_frame
    rows = laptop.rows.gold["heldout"]
    assert every.tokens == pytest.approx(rows * (fresh + count * lengths.question))
    assert single.tokens - every.tokens == pytest.approx(rows * (count - 1) * fresh)
    assert eight.tokens - every.tokens == pytest.approx(rows * (-(-count // 8) - 1) * fresh)
    # A written policy is sent whole each time.
    policy = graded_by(laptop, group=8, style="policy")
    assert policy.tokens > eight.tokens


def test_a_chat_grader_on_a_planned_machine_takes_its_time(laptop):
    own = graded_by(replace(laptop, served=False), group=8)
    assert own.rate == "read"
    assert seconds(own, MEASURED, None) > 0


def test_a_chat_judge_is_asked_and_not_tuned(laptop):
    judge = SETTINGS.judge.model_copy(update={"engine": "chat"})
    works = list(replace(laptop, settings=SETTINGS.model_copy(update={"judge": judge})).works())
    assert not [work for work in works if work.rate in ("judge_tune", "judge_read")]
    assert [work for work in works if work.artifact == "judge" and work.rate == SERVED]


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


def test_an_external_set_is_planned_for_all_models_of_the_table(laptop):
    chosen = ExternalSet(format="xstest", source="x.csv", prompts=100)
    settings = SETTINGS.model_copy(update={"external_eval": {"x": chosen}})
    works = list(replace(laptop, settings=settings).works())
    own = [w.tokens for w in works if w.artifact == "external_eval/x" and w.rate == "generate"]
    base = [w.tokens for w in works if w.artifact == "rbr/safety_eval" and w.rate == "generate"]
    models = 1 + 2 * len(SETTINGS.variants)
    assert sum(own) == pytest.approx(sum(base) * models * 100 / (2 * laptop.rows.evaluated))


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
    with pytest.raises(RBRError, match=r"benchmarks/rates\.py .*; or --measured deploy/"):
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
