"""Models of other families pass every training, grading and evaluation."""

import math
import shutil

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from pipeline.rows import weights_digest
from rbr.data.rows import (
    CapabilityItem,
    CapabilityText,
    HelpfulPrompt,
    Labelled,
    Message,
    Preference,
)
from rbr.evaluation.capability import capability
from rbr.grading.engines.transformers import TransformersEngine
from rbr.grading.head import HeadGrader
from rbr.grading.options import TuningOptions
from rbr.grading.prompts import chat_prompt
from rbr.grading.tune import fine_tune
from rbr.models.chat_templates import chat_template
from rbr.models.generate import generate
from rbr.models.load import load_causal, load_scorer, load_tokenizer, prompt_text
from rbr.models.trunk import decoder_of, part_of, train_upper_layers
from rbr.training.actor_critic import ActorCritic
from rbr.training.options import RewardModelOptions, RLOptions, SFTOptions
from rbr.training.policy import train_policy
from rbr.training.reward_model import RewardModel, train_reward_model
from rbr.training.sft import train_sft
from tests.families import FAMILIES, make_family

SYSTEM = Message(role="system", content="Be kind.")


def talk(text, *before):
    return (*before, Message(role="user", content=text))


CONVERSATIONS = [talk(f"How do I open lock {i}?", *([SYSTEM] * (i % 2))) for i in range(8)]
ANSWERS = [f"Sorry, I cannot help with lock {i}." for i in range(8)]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, root, tmp_path_factory):
    texts = [path.read_text() for path in sorted((root / "rules/propositions").glob("*.yaml"))]
    return make_family(request.param, tmp_path_factory.mktemp(request.param), texts)


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, return_tensors="pt")


def test_the_weights_are_in_shards_and_the_digest_is_of_all(model, tmp_path):
    assert (model / "model.safetensors.index.json").is_file()
    shards = sorted(model.glob("*.safetensors"))
    assert len(shards) > 2
    copy = shutil.copytree(model, tmp_path / "copy")
    assert weights_digest(copy) == weights_digest(model)
    last = copy / shards[-1].name
    last.write_bytes(last.read_bytes()[:-1] + b"\x07")
    assert weights_digest(copy) != weights_digest(model)


def test_trunk_and_upper_layers_are_the_model(model):
    causal, tokenizer = load_causal(model), load_tokenizer(model)
    batch = ids_of(tokenizer, prompt_text(tokenizer, talk("a b c " * 40)))  # beyond the window
    decoder = decoder_of(causal)
    with torch.no_grad():
        whole = decoder(**batch).last_hidden_state
        for depth in (1, 2):
            mask = batch["attention_mask"]
            states = part_of(decoder, 0, depth, norm=False)(**batch).last_hidden_state
            upper = part_of(decoder, depth, 4, norm=True)
            found = upper(inputs_embeds=states, attention_mask=mask).last_hidden_state
            torch.testing.assert_close(found, whole)


def test_log_probabilities_are_those_of_the_models_own_logits(model):
    causal, tokenizer = load_causal(model), load_tokenizer(model)
    causal.get_output_embeddings().weight.data.mul_(20)  # a cap on the logits shows
    text = prompt_text(tokenizer, talk("Is it?"))
    batch = ids_of(tokenizer, text + "Yes, it is.")
    with torch.no_grad():
        actor = ActorCritic(causal, train_upper_layers(causal, 2), temperature=1.0)
        found = actor(batch["input_ids"], batch["attention_mask"], 4).logps
        logits = causal(**batch).logits[:, -5:-1].log_softmax(-1)
    expected = logits.gather(-1, batch["input_ids"][:, -4:, None])[..., 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_question_is_answered_as_by_the_models_own_logits(model, tmp_path):
    causal, tokenizer = load_causal(model), load_tokenizer(model)
    causal.get_output_embeddings().weight.data.mul_(20)
    causal.save_pretrained(tmp_path, max_shard_size="100KB")
    tokenizer.save_pretrained(tmp_path)
    engine = TransformersEngine(tmp_path)
    prompts = [
        chat_prompt(engine.tokenizer, CONVERSATIONS[1], ANSWERS[1], question)
        for question in ("Is it kind?", "Is it short, or is it long?")
    ]
    odds = engine.log_odds([prompts])[0]
    yes, no = engine.yes_no_tokens
    for prompt, found in zip(prompts, odds, strict=True):
        with torch.no_grad():
            logits = causal(**ids_of(tokenizer, prompt)).logits[0, -1]
        expected = logits[yes].logsumexp(0) - logits[no].logsumexp(0)
        assert found == pytest.approx(float(expected), abs=2e-3)


def test_prompts_are_read_back_from_the_template(model):
    template, tokenizer = chat_template(str(model)), load_tokenizer(model)
    turns = (
        *talk("Hello"),
        Message(role="assistant", content="Hi"),
        Message(role="user", content="Bye"),
    )
    assert template.turns(prompt_text(tokenizer, turns)) == turns
    [*_, last] = template.turns(prompt_text(tokenizer, talk("Hello", SYSTEM)))
    assert last.content.endswith("Hello")
    assert "Be kind." in prompt_text(tokenizer, talk("Hello", SYSTEM))


def test_a_head_grader_is_tuned_and_grades(model, tmp_path):
    rows = [
        Labelled(
            id=f"g{i}", response_type="r", conversation=CONVERSATIONS[i], completion=ANSWERS[i],
            true=("x",) * (i % 2),
        )
        for i in range(8)
    ]  # fmt: skip
    options = TuningOptions(layers=3, trained_layers=1, epochs=1, batch_size=4)
    fine_tune(model, rows, ("x",), options, tmp_path / "run", 0).save(tmp_path, {})
    grades = HeadGrader(tmp_path, model).grade(CONVERSATIONS, ANSWERS)
    assert grades.shape == (8, 1)
    assert ((grades > 0) & (grades < 1)).all()


def test_a_reward_model_is_trained_and_scores(model, tmp_path):
    pairs = [
        Preference(id=f"p{i}", family="f", conversation=turns, chosen="Here it is.", rejected=answer)
        for i, (turns, answer) in enumerate(zip(CONVERSATIONS, ANSWERS, strict=True))
    ]  # fmt: skip
    options = RewardModelOptions(layers=3, trained_layers=3, batch_size=4, epochs=10, learning_rate=3e-3)  # fmt: skip
    train_reward_model(model, pairs, tmp_path / "run", tmp_path / "rm", options, 0)
    assert load_scorer(tmp_path / "rm").config.num_hidden_layers == 3
    scorer = RewardModel(tmp_path / "rm")
    together = scorer.score(CONVERSATIONS, ANSWERS)
    alone = [
        scorer.score([turns], [answer])[0]
        for turns, answer in zip(CONVERSATIONS, ANSWERS, strict=True)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert (scorer.score(CONVERSATIONS, ["Here it is."] * 8) > together).mean() > 0.7


def long_answers(completions, **_):
    return [float(len(answer[0]["content"])) for answer in completions]


def test_a_policy_is_fine_tuned_optimised_and_evaluated(model, tmp_path):
    sft, ppo = tmp_path / "sft", tmp_path / "ppo"
    options = SFTOptions(trained_layers=2, batch_size=4, epochs=2)
    rows = list(zip(CONVERSATIONS, ANSWERS, strict=True))
    found = train_sft(model, rows, tmp_path / "run1", sft, options, 0)
    assert found["loss_last"] < found["loss_first"]
    prompts = [
        HelpfulPrompt(id=f"h{i}", family="f", conversation=turns)
        for i, turns in enumerate(CONVERSATIONS)
    ]
    rl = RLOptions(steps=2, prompts_per_step=4, max_new_tokens=8, trained_layers=2)
    found = train_policy(sft, [], prompts, long_answers, tmp_path / "run2", ppo, rl, 0)
    assert all(math.isfinite(value) for value in found.values())
    # What ends an answer is kept on the way: each of the tokens still does.
    ends = set(GenerationConfig.from_pretrained(model).eos_token_id)
    assert ends <= set(GenerationConfig.from_pretrained(ppo).eos_token_id)
    tied = load_causal(ppo)
    head, embedding = tied.get_output_embeddings().weight, tied.get_input_embeddings().weight
    assert (head is embedding) == tied.config.tie_word_embeddings
    answers = generate(ppo, CONVERSATIONS, 6, 4)
    assert answers == generate(ppo, CONVERSATIONS, 6, 1)
    item = CapabilityItem(
        id="i", kind="factual", question="One?", choices=("1", "2", "3", "4"), answer="1"
    )
    values, _ = capability(ppo, [item], [CapabilityText(id="t", text="The lock is open.")])
    assert 0 < values["loss"] < 20
