"""PPO's parts by hand, and what a trainer makes of a rollout."""

import pytest
import torch

from rbr.training.ppo import adapted_kl_coefficient, clipped_value_errors, distinct_bigrams
from tests.rbr.training.toy import made, trainer_of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return made(tmp_path_factory.mktemp("ppo"))


def same(prompts, **_):
    return [3.0] * len(prompts)


def ready(tiny, tmp_path, **changes):
    """A trainer with its optimizer, and the first update's inputs."""
    trainer = trainer_of(tiny, tmp_path, **changes)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    rows = next(iter(trainer.get_train_dataloader()))
    return trainer, trainer._prepare_inputs(rows)


def test_the_value_loss_takes_the_larger_of_the_two_errors():
    values = torch.tensor([[1.0, 0.0]])
    old = torch.tensor([[0.0, 0.0]])
    returns = torch.tensor([[1.0, 2.0]])
    # Token 1: unclipped error 0, clipped value 0.2 gives 0.64. Token 2: both give 4.
    errors = clipped_value_errors(values, old, returns, 0.2)
    torch.testing.assert_close(errors, torch.tensor([[0.32, 2.0]]))


def test_a_loop_has_few_distinct_pairs_and_padding_does_not_count():
    ids = torch.tensor([[1, 2, 1, 2, 1], [1, 2, 3, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    torch.testing.assert_close(distinct_bigrams(ids, mask), torch.tensor([2 / 4, 1.0]))


def test_the_kl_coefficient_follows_the_target_and_is_bounded():
    assert adapted_kl_coefficient(0.1, kl=4.0, target=4.0, completions=100) == 0.1
    assert adapted_kl_coefficient(0.1, kl=4.4, target=4.0, completions=100) == pytest.approx(
        0.1 * 1.001
    )
    assert adapted_kl_coefficient(0.1, kl=400.0, target=4.0, completions=100) == pytest.approx(
        0.1 * 1.002
    )
    assert adapted_kl_coefficient(0.1, kl=0.0, target=4.0, completions=100) == pytest.approx(
        0.1 * 0.998
    )


def test_without_critic_and_kl_the_advantage_is_the_centred_score_on_every_token(tiny, tmp_path):
    trainer, inputs = ready(tiny, tmp_path, gamma=1.0, gae_lambda=1.0)
    assert (inputs["old_values"] == 0).all()  # the head begins with zero
    [rewards] = trainer._logs["rewards"].values()
    scores = torch.tensor(list(rewards)).view(-1, trainer.num_generations)
    scores = (scores - scores.mean(1, keepdim=True)).flatten()
    assert trainer.score_scale == pytest.approx(float(scores.std()))
    scores = scores / trainer.score_scale
    mask = inputs["completion_mask"].bool()
    # TRL shuffles the rollouts; what a row's return is says which score it has.
    torch.testing.assert_close(
        inputs["returns"][:, 0].sort().values, scores.sort().values, atol=1e-5, rtol=0
    )
    plain = inputs["returns"][:, :1].expand(mask.shape)
    torch.testing.assert_close(inputs["returns"], plain * mask)
    real = plain[mask]
    expected = (real - real.mean()) / real.std(unbiased=False)
    torch.testing.assert_close(inputs["advantages"][mask], expected, atol=1e-4, rtol=1e-3)


def test_one_reward_for_all_and_no_kl_leaves_the_policy_alone(tiny, tmp_path):
    trainer = trainer_of(tiny, tmp_path, reward=same, max_steps=2)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    for name, now in trainer.model.named_parameters():
        assert torch.equal(now, before[name]), name


@pytest.mark.parametrize("part", ["policy", "value"])
def test_gradients_of_the_losses_agree_with_finite_differences(tiny, tmp_path, part):
    trainer, inputs = ready(
        tiny, tmp_path, value_coefficient=1.0, kl_coefficient=0.1, trained_layers=1
    )
    torch.manual_seed(0)
    torch.nn.init.normal_(trainer.model.value_head.outer.weight, std=0.1)
    # Away from the rollout's own policy and values, so that ratios are not 1.
    chosen = [p for p in trainer.model.parameters() if p.requires_grad]
    with torch.no_grad():
        for p in chosen:
            p.add_(torch.randn_like(p) * 0.003)
    inputs = dict(inputs)
    if part == "policy":
        trainer.options = trainer.options.model_copy(update={"value_coefficient": 0.0})
    else:
        inputs["advantages"] = torch.zeros_like(inputs["advantages"])

    def loss():
        return trainer._compute_loss(trainer.model, inputs)

    gradients = torch.autograd.grad(loss(), chosen, allow_unused=True)
    gradients = [
        torch.zeros_like(p) if g is None else g for g, p in zip(gradients, chosen, strict=True)
    ]
    length = torch.sqrt(sum(g.square().sum() for g in gradients))
    assert length > 0
    step = 2e-3
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, g in zip(chosen, gradients, strict=True):
                p.add_(g, alpha=sign * step / float(length))
            found.append(float(loss()))
            for p, g in zip(chosen, gradients, strict=True):
                p.sub_(g, alpha=sign * step / float(length))
    assert (found[0] - found[1]) / (2 * step) == pytest.approx(float(length), rel=0.02)


def test_a_frozen_trunk_changes_no_log_probability(tiny, tmp_path):
    """The trunk's kept states give what the whole model gives."""
    trainer, inputs = ready(tiny, tmp_path, trained_layers=1)
    tokens = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    width = inputs["completion_ids"].size(1)
    with torch.no_grad():
        logits = trainer.model.policy(input_ids=tokens, attention_mask=attention).logits
    logps = logits[:, -width - 1 : -1].log_softmax(-1)
    expected = logps.gather(-1, inputs["completion_ids"][..., None])[..., 0]
    mask = inputs["completion_mask"].bool()
    torch.testing.assert_close(
        inputs["old_per_token_logps"][mask], expected[mask], atol=1e-4, rtol=1e-4
    )
    assert (inputs["old_per_token_logps"][~mask] == 0).all()


def test_a_reward_that_is_no_number_ends_the_training(tiny, tmp_path):
    def broken(prompts, **_):
        return [float("nan")] * len(prompts)

    with pytest.raises(ValueError, match="not a number"):
        trainer_of(tiny, tmp_path, reward=broken, max_steps=1).train()


def test_training_stops_far_from_the_reference(tiny, tmp_path):
    trainer = trainer_of(tiny, tmp_path, max_kl=0.05, learning_rate=1e-2, max_steps=60)
    trainer.train()
    assert trainer.state.global_step < 60
    kls = [entry["kl"] for entry in trainer.state.log_history if "kl" in entry]
    assert all(kl <= 0.05 for kl in kls[:-1])


def test_unfinished_completions_lose_the_penalty(tiny, tmp_path):
    trainer, inputs = ready(
        tiny, tmp_path, reward=same, missing_eos_penalty=2.0, gamma=1.0, gae_lambda=1.0
    )
    ends = trainer.processing_class.eos_token_id
    finished = (inputs["completion_ids"] == ends).any(1)
    assert not finished.all()
    expected = torch.where(finished, 0.0, -2.0)
    torch.testing.assert_close(inputs["returns"][:, 0], expected)


def test_an_answers_likelihood_under_the_reference_is_part_of_its_reward(tiny, tmp_path):
    trainer, inputs = ready(tiny, tmp_path, reward=same, fluency_coefficient=2.0, gae_lambda=1.0)
    mask = inputs["completion_mask"]
    # The policy is the reference still.
    logps = (inputs["old_per_token_logps"] * mask).sum(1) / mask.sum(1)
    assert logps.std() > 0
    torch.testing.assert_close(inputs["returns"][:, 0], 2.0 * logps, atol=1e-5, rtol=1e-4)
    (logged,) = trainer._metrics["train"]["completions/likelihood"]
    assert logged == pytest.approx(float(logps.mean()), abs=1e-5)


def test_the_policy_samples_in_the_precision_that_it_is_trained_in(tiny, tmp_path):
    trainer = trainer_of(tiny, tmp_path, bf16=True, max_steps=2)
    precisions = set()
    trainer.model.policy.model.register_forward_pre_hook(
        lambda *_: precisions.add(torch.is_autocast_enabled("cpu"))
    )
    trainer.train()
    assert precisions == {True}


def test_the_reference_stays_as_the_policy_was(tiny, tmp_path):
    trainer = trainer_of(tiny, tmp_path, trained_layers=1, max_steps=4)
    before = {name: p.clone() for name, p in trainer.model.reference.named_parameters()}
    trainer.train()
    policy = trainer.model._upper().state_dict()
    assert before
    for name, p in trainer.model.reference.named_parameters():
        assert torch.equal(p, before[name]), name
    assert any(not torch.equal(policy[name], p) for name, p in before.items())
