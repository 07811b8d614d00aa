"""What holds the policy that is released only warns of those that it is compared with."""

import pytest

from assets import capability_eval, safety_eval
from pipeline.variants import MAIN, VARIANTS
from rbr.evaluation.metrics import METRICS
from rbr.files import write_json
from tests.assets.bodies import context_of

MODELS = ("sft", "ppo")


def parts(context, expectations):
    return {part.name for part in expectations(context)}


@pytest.fixture(params=VARIANTS.values(), ids=lambda variant: variant.name)
def variant(request):
    return request.param


def test_fluency_holds_the_released_policy_alone(tmp_path, variant):
    context = context_of(tmp_path, variant.key("safety_eval"))
    values = dict.fromkeys((*METRICS, "fluency_drop"), 0.5)
    write_json(
        context.folder / "metrics.json",
        {f"{model}.{name}": value for model in MODELS for name, value in values.items()},
    )
    write_json(context.folder / "over_optimisation.json", {"changes": {}})
    gate, alarm = (
        parts(context, made) for made in (safety_eval.expectations, safety_eval.reward_hacking)
    )
    assert ("fluency" in gate, "fluency" in alarm) == (variant == MAIN, variant != MAIN)
    assert "shares" in gate


def test_capability_holds_the_released_policy_alone(tmp_path, variant):
    context = context_of(tmp_path, variant.key("capability_eval"))
    values = {"loss_rise": 1.0, "items_lost": 0.5}
    write_json(
        context.folder / "metrics.json",
        {f"{model}.{name}": value for model in MODELS for name, value in values.items()},
    )
    gate, alarm = (
        parts(context, made)
        for made in (capability_eval.expectations, capability_eval.lost_capability)
    )
    assert ("capability" in gate, "capability" in alarm) == (variant == MAIN, variant != MAIN)
    assert "numbers" in gate
