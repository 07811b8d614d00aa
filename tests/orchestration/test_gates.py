"""Gates: their outcome as data docs, PPO's gain, and the champion's part."""

import pytest
from scipy.stats import ttest_ind

from orchestration.gates import evaluate
from orchestration.gates.suites import Champion, predecessor
from orchestration.gates.suites.training import gain
from rbr.evaluation.paired import Difference
from rbr.steps import Context
from tests.orchestration.broken import context

__all__ = ["context"]

pytestmark = pytest.mark.smoke_graph


def test_results_are_kept_as_data_docs(context):
    gate = evaluate(context, "safety_prompts")
    assert gate.passed, gate.failures
    assert (context.root / gate.docs).is_file()
    assert "comply_share" in gate.markdown()


def test_the_gain_is_that_of_the_halves():
    assert gain([1.5, 0.5, 1.0, 1.25])[0] == pytest.approx(0.125)
    assert gain([9.0, 0.0, 1.0, 0.0, 1.0])[0] == pytest.approx((0 + 1) / 2 - 9 / 2)
    assert gain([3.0]) == (0.0, 0.0)


def test_the_gains_upper_end_is_welchs():
    earlier, later = [2.6, 0.8, 1.9, 3.3], [2.4, 1.2, 1.7, 2.2]
    found = ttest_ind(later, earlier, equal_var=False)
    error = gain([*earlier, *later])[0] / found.statistic
    assert gain([*earlier, *later])[1] == pytest.approx(gain([*earlier, *later])[0] + 1.96 * error)
    # Falling by chance passes, falling for certain does not.
    assert gain([*earlier, *later])[1] > 0
    assert gain([9.0, 9.1, 9.2, 1.0, 1.1, 0.9])[1] < 0


@pytest.mark.parametrize(
    ("difference", "limit", "fails"),
    [
        # Its interval holds 0: a tie.
        (Difference(-0.02, -0.06, 0.02), 0.0, False),
        (Difference(-0.2, -0.3, -0.1), 0.0, True),
        (Difference(-0.2, -0.3, -0.1), 0.15, False),
        (Difference(0.2, 0.1, 0.3), 0.0, False),
    ],
)
def test_a_policy_that_is_certainly_worse_than_the_champion_is_stopped(
    context, difference, limit, fails
):
    settings = context.settings.model_copy(
        update={"gates": context.settings.gates.model_copy(update={"f1_loss_max": limit})}
    )
    own = Context(context.root, settings, "rbr")
    part = predecessor(own, Champion("3", 0.9, difference))
    gate = evaluate(own, "safety_eval", [part])
    assert gate.passed is not fails
    assert ("champion 3" in " ".join(gate.failures)) is fails


def test_a_champion_of_other_prompts_is_compared_by_the_drop(context):
    settings = context.settings.model_copy(
        update={"gates": context.settings.gates.model_copy(update={"f1_drop_max": 0.1})}
    )
    own = Context(context.root, settings, "rbr")
    assert not evaluate(own, "safety_eval", [predecessor(own, Champion("3", 1.2, None))]).passed
    assert evaluate(own, "safety_eval", [predecessor(own, Champion("3", 0.0, None))]).passed
