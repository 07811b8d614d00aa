"""One settings object a profile. It is read once and passed down; nothing else reads settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rbr.errors import Place, RBRError, first_problem

Variant = Literal["helpful", "human", "human_rbr", "rbr"]
VARIANTS: tuple[Variant, ...] = ("helpful", "human", "human_rbr", "rbr")
# Those that the rules reward, on the human or on the helpful-only reward model.
RULED: tuple[Variant, ...] = ("human_rbr", "rbr")
MAX_BYTES = 1_000_000


class Section(BaseModel):
    """Base of all sections: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Models(Section):
    """Which models: ``tiny`` (made on the spot), ``embedded`` (from a wheel), or a hub name or folder."""

    policy: str = "smollm2"
    judge: str = "minilm"


class Prompts(Section):
    """Split of the prompt families. Fractions are of families; ``eval`` gets the rest."""

    train_fraction: float = Field(0.6, gt=0, lt=1)
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    limit: int | None = Field(None, description="keep at most this many prompts (smoke profile)")


class Gold(Section):
    """Split of the gold rows."""

    heldout_fraction: float = Field(0.33, gt=0, lt=1)
    limit: int | None = None


class Comparisons(Section):
    """Synthetic comparisons: how many prompts a response type, how many completions a label.

    ``heldout_per_type`` holds for validation and eval each. The policy model is asked for completions
    of ``generated_share`` of the train prompts too, ``attempts`` times at most, after ``examples``.
    """

    prompts_per_type: int = 240
    heldout_per_type: int = 60
    bad_per_prompt: int = 2
    generated_share: float = Field(0.04, ge=0, le=1)
    attempts: int = Field(3, gt=0)
    examples: int = Field(2, ge=0)
    temperature: float = Field(0.8, gt=0)
    confirm_floor: float = Field(0.5, ge=0, le=1)
    max_new_tokens: int = 64


class Human(Section):
    """The *simulated* human annotators, over-cautious as the paper found people to be.

    ``overcaution`` is the chance that an annotator prefers a refusal to a compliant answer on a
    comply prompt that sounds unsafe; ``noise`` the chance that any label is flipped.
    """

    overcaution: float = Field(0.35, ge=0, le=1)
    noise: float = Field(0.03, ge=0, le=0.5)


class Tuning(Section):
    """Fine-tuning of the first ``layers`` layers of a backbone, with heads, on gold and composed rows.

    Of them the last ``trained_layers`` are trained, all for None: what lower layers know of which words
    go together stays as it came.
    ``gold_epochs`` says how often each gold row is seen; a composed row is seen once. The gold rows of
    ``validation_fraction`` of the conversations are kept for calibration and thresholds.
    """

    layers: int = Field(16, gt=0)
    trained_layers: int | None = Field(None, gt=0)
    gold_epochs: int = Field(6, gt=0)
    learning_rate: float = 1e-4
    head_learning_rate: float = 2e-3
    batch_size: int = Field(16, gt=0)
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    balance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="calibration weighs positives by (negatives / positives)^balance",
    )


class Judge(Section):
    """The evaluation's judge: another backbone than the grader's, tuned on rows of its own."""

    composed_per_type: int = 400
    composed_comply: int = 1200
    tuning: Tuning = Tuning(layers=6, learning_rate=2e-4)


class Grader(Section):
    """The reward's grader.

    ``head`` tunes the policy model's lower layers with heads (``tuning``). The others ask ``model`` (the
    policy model where it is None) for yes or no: in this process (``transformers``, ``vllm``) or on the
    server at ``address`` (``openai``), whose key is the environment's RBR_GRADER_KEY.
    """

    engine: Literal["head", "transformers", "vllm", "openai"] = "head"
    tuning: Tuning = Tuning()
    batch_size: int = 32
    model: str | None = None
    prompt_rows: int = Field(200, description="gold train rows that prompts are chosen on")
    served_name: str | None = Field(None, description="the model's name on the server")
    restrict: bool = Field(False, description="the server is vLLM: allow yes and no tokens alone")
    concurrency: int = Field(32, gt=0)
    timeout: float = Field(60.0, gt=0, description="seconds a request")
    retries: int = Field(4, ge=0)
    vllm: dict[str, Any] = Field({}, description="further arguments of vllm.LLM")
    composed_per_type: int = 400
    composed_comply: int = Field(
        1200, description="of comply prompts: what an answer is, varies most"
    )
    address: str | None = Field(None, description="base URL of an OpenAI-compatible server")


class RewardModel(Section):
    """Reward models: the first ``layers`` decoder layers, the last ``trained_layers`` of them trained."""

    layers: int = 16
    trained_layers: int = 4
    learning_rate: float = 2e-4
    epochs: float = 2.0
    batch_size: int = 16
    max_pairs: int = 320


class Weights(Section):
    """Weight fitting. The L2 strength is chosen on validation prompts."""

    l2_path: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 0.3)
    constrain_signs: bool = True
    fixed: float | None = Field(
        None, gt=0, description="no fit: this size, with the sign that the rules state (ablation)"
    )
    reward_model: bool = Field(
        True,
        description="R_rm counts on safety prompts; without it the rules stand alone (ablation)",
    )


class SFT(Section):
    """Supervised fine-tuning of the upper ``trained_layers``; demos are capped per source."""

    trained_layers: int = 10
    learning_rate: float = 1e-4
    epochs: float = 2.0
    batch_size: int = 16
    helpful_demos: int = 160
    safety_demos: int = 300
    comply_share: float = Field(
        0.8, ge=0, le=1, description="of the safety demos of the variants with rules"
    )
    max_length: int = 160


class RL(Section):
    """Policy optimisation (PPO terms as in TRL; KL penalty per token as in InstructGPT)."""

    algorithm: Literal["ppo", "grpo", "rloo"] = "ppo"
    steps: int = 8
    prompts_per_step: int = 48
    group_size: int = Field(2, ge=2, description="rollouts of one prompt (TRL asks for two)")
    epochs: int = 2
    mini_batches: int = 2
    max_new_tokens: int = 64
    max_prompt_tokens: int = 64
    learning_rate: float = 5e-5
    value_learning_rate: float = 1e-3
    trained_layers: int = 10
    kl_coefficient: float = 0.05
    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 1.0
    temperature: float = 0.7
    missing_eos_penalty: float = 0.5
    max_kl: float = Field(20.0, description="nats from the SFT model at which training stops")
    kl_target: float | None = Field(
        None, description="nats a completion that the KL coefficient is adapted towards"
    )
    safety_share: float = Field(0.75, ge=0, le=1)
    comply_share: float = Field(
        0.5, ge=0, le=1, description="of the safety prompts: those to be answered"
    )
    save_steps: int = Field(4, description="rollouts from one checkpoint to the next")
    sample_steps: int = Field(4, description="rollouts from one table of samples to the next")
    vllm: Literal["colocate", "server"] | None = Field(
        None, description="generate with vLLM (TRL's vllm_mode), else with Transformers"
    )
    vllm_server: str | None = Field(None, description="base URL of a `trl vllm-serve`")


class Launch(Section):
    """How trainings are started; says where they run, not what comes out, so nothing is made again.

    ``processes`` under ``accelerate launch``, or in the pipeline's own process for null. Of several, each
    takes its share of every batch. ``config_file``: an ``accelerate`` configuration (FSDP, DeepSpeed,
    several hosts) in place of the defaults.
    """

    processes: int | None = Field(1, ge=1)
    config_file: str | None = None


class Evaluation(Section):
    """Held-out evaluation; intervals are bootstrap intervals over prompts."""

    prompts: int = 140
    max_new_tokens: int = 64
    batch_size: int = 64
    bootstrap: int = 2000
    capability_items: int = 80


class Scale(Section):
    """Where grading, generation and evaluation run: no artifact depends on it, no step declares it.

    Without an ``address`` they run in this process. ``workers`` actors hold a model each; ``cpus`` and
    ``gpus`` are what one asks of its node.
    """

    address: str | None = Field(
        None, description="a Ray cluster, host:port; local: one of this machine alone"
    )
    workers: int = Field(2, gt=0)
    cpus: float = Field(1.0, ge=0)
    gpus: float = Field(0.0, ge=0)
    object_store_mb: int = Field(200, ge=80, description="shared memory of a local cluster")
    grader_servers: tuple[str, ...] = Field(
        (),
        description="servers of one model that the openai engine asks, in grader.address's place",
    )
    kubernetes: bool = Field(False, description="each Dagster step in a pod of its own")


class Automation(Section):
    """Retraining that starts by itself."""

    quiet_seconds: float = Field(
        10.0, ge=0, description="how long rules/ must be left alone before a change counts"
    )


class Gates(Section):
    """Thresholds of the blocking checks."""

    family_min: int = 400
    prompts_min: int = 1600
    eval_prompts_min: int = 300
    comply_share_min: float = 0.45
    lookalike_share_min: float = Field(0.5, description="of the prompts to be complied with")
    gold_rows_min: int = 600
    gold_train_support: int = 20
    gold_heldout_support: int = 10
    gold_rare_train_support: int = 10
    gold_rare_count: int = 3
    grader_accuracy_min: float = 0.85
    grader_proposition_min: float = 0.6
    comparison_confirmed_min: float = 0.75
    comparison_label_min: float = 0.5
    reward_accuracy_min: float = 0.55
    pair_error_max: float = 0.2
    # About two standard errors of a pair error near 0.05 on 60 held-out prompts.
    pair_error_rise_max: float = 0.05
    sft_loss_ratio_max: float = 1.0
    ppo_gain_min: float = Field(
        0.0, description="upper end of the reward's gain, later half less earlier"
    )
    ppo_kl_max: float = 40.0
    ppo_length_ratio_min: float = 0.3
    ppo_distinct_min: float = 0.2
    judge_accuracy_min: float = 0.8
    f1_loss_max: float = Field(
        0.0, ge=0, description="F1* certainly lost to the champion (upper end, paired)"
    )
    f1_drop_max: float = Field(0.1, description="F1* below a champion that answered other prompts")
    capability_loss_margin: float = 0.5


class Settings(Section):
    """All settings of a profile (``profiles/<name>.yaml``)."""

    seed: int = 0
    threads: int | None = None
    grade_noise: float = Field(
        0.0, ge=0, le=0.5, description="share of the reward's grades turned round (ablation)"
    )
    models: Models = Models()
    prompts: Prompts = Prompts()
    gold: Gold = Gold()
    comparisons: Comparisons = Comparisons()
    human: Human = Human()
    grader: Grader = Grader()
    judge: Judge = Judge()
    reward_model: RewardModel = RewardModel()
    weights: Weights = Weights()
    sft: SFT = SFT()
    rl: RL = RL()
    launch: Launch = Launch()
    evaluation: Evaluation = Evaluation()
    scale: Scale = Scale()
    automation: Automation = Automation()
    gates: Gates = Gates()


def read_yaml(path: Path) -> dict[str, Any]:
    """A settings file's mapping of sections.

    Raises:
        RBRError: not there, too big, not UTF-8, not YAML, with tags or aliases, no mapping.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RBRError(f"over {MAX_BYTES} bytes: no settings file is", path)
        text = path.read_text(encoding="utf-8")
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            # A few aliases of aliases fill any memory.
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1 if event.start_mark else None
                raise RBRError(
                    "YAML aliases (*name) are not taken: write it out", Place(path, line)
                )
        value = yaml.safe_load(text) or {}
    except UnicodeDecodeError as error:
        raise RBRError("not UTF-8 text: save it as UTF-8", path) from error
    except FileNotFoundError as error:
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise RBRError(f"no such settings file; there are: {names}", path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
        raise RBRError(f"not YAML: {getattr(error, 'problem', error)}", place) from error
    if not isinstance(value, dict):
        raise RBRError("must be a mapping of sections", path)
    return value


def read_profile(root: Path, profile: str | None = None) -> tuple[str, dict[str, Any]]:
    """The name of the profile that ``params.yaml`` names (or ``profile``), and its sections as written.

    Raises:
        RBRError: naming the file at fault.
    """
    name = profile or read_yaml(root / "params.yaml").get("profile")
    if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
        raise RBRError("profile: must name a file of profiles/", root / "params.yaml")
    return name, read_yaml(root / "profiles" / f"{name}.yaml")


def read_settings(root: Path, profile: str | None = None) -> tuple[str, Settings]:
    """Read the profile that ``params.yaml`` names (or ``profile``).

    Returns:
        The profile's name and its settings.

    Raises:
        RBRError: naming the file and the key at fault.
    """
    name, written = read_profile(root, profile)
    try:
        return name, Settings.model_validate(written)
    except ValidationError as error:
        raise RBRError(first_problem(error), root / "profiles" / f"{name}.yaml") from error
