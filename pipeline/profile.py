"""One settings object a profile. It is read once and passed down; nothing else reads settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, Field, StringConstraints, ValidationError, field_validator

from pipeline.variants import MAIN, VARIANTS
from rbr.comparisons.options import ChatWriterOptions
from rbr.data.gold import GoldOptions
from rbr.data.importers import PROMPT_FORMATS
from rbr.data.splits import SplitOptions
from rbr.data.tables import SUFFIXES
from rbr.errors import Place, RBRError
from rbr.grading.options import GraderOptions, TuningOptions
from rbr.options import Options, kinds_of
from rbr.reward.options import WeightOptions
from rbr.rules.yaml import MERGE, said, suggest
from rbr.scale.options import ClusterOptions
from rbr.training.options import (
    DemonstrationOptions,
    RewardModelOptions,
    RLOptions,
    SFTOptions,
)

OptionsT = TypeVar("OptionsT", bound=BaseModel)
MAX_BYTES = 1_000_000
MAX_DEPTH = 50
# What is said of a section that is none, by pydantic's name of the problem.
MESSAGES = {
    "model_type": "must be a mapping of settings: indent them below it, or drop it",
    "dict_type": "must be a mapping: indent its entries below it, or drop it",
}
# libyaml's, where PyYAML was built with it: many times faster, as safe.
LOADER: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
# Numbers such as 1e-4, which YAML 1.1 takes for text.
LOADER.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    [*"-+.0123456789"],
)
# What YAML 1.1 reads in one way, and 1.2 and people in another, by its kind: 010 is 8, 1:30 is 90, no is false.
AMBIGUOUS = {
    "tag:yaml.org,2002:int": (re.compile(r"[-+]?0[0-9_]|.*:"), "write a plain number"),
    "tag:yaml.org,2002:float": (re.compile(r".*:"), "write a plain number"),
    "tag:yaml.org,2002:bool": (re.compile("(?!true|false)", re.I), "write true or false"),
}


class Models(Options):
    """Which models: ``tiny`` (made on the spot), ``embedded`` (from a wheel), or a hub name or folder."""

    policy: str = "smollm2"
    judge: str = "minilm"


class Comparisons(Options):
    """Synthetic comparisons: how many prompts a response type, how many completions a label.

    ``heldout_per_type`` holds for validation and eval each. The policy model is asked for completions
    of ``generated_share`` of the train prompts too, ``attempts`` times at most, after ``examples``; or in
    its place the model ``chat`` on a server. Where a response type has no recipes, all are written so.
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
    chat: ChatWriterOptions | None = None


class Human(Options):
    """The *simulated* human annotators, over-cautious as the paper found people to be.

    ``overcaution`` is the chance that an annotator prefers a refusal to a compliant answer on a
    comply prompt that sounds unsafe; ``noise`` the chance that any label is flipped.
    """

    overcaution: float = Field(0.35, ge=0, le=1)
    noise: float = Field(0.03, ge=0, le=0.5)


class Judge(GraderOptions):
    """The evaluation's judge, fitted on rows of its own: heads on another backbone, or another model."""

    tuning: TuningOptions = TuningOptions(layers=6, learning_rate=2e-4)


class Launch(Options):
    """How artifacts are made; says where, not what comes out, so nothing is made again.

    ``artifacts`` are made at a time, each in a process of its own with an equal share of the cores; one at a
    time in the run's own process for 1. Trainings run in ``processes`` under ``accelerate launch``, or in the
    pipeline's own process for null. Of several, each takes its share of every batch. ``config_file``: an
    ``accelerate`` configuration (FSDP, DeepSpeed, several hosts) in place of the defaults.
    """

    artifacts: int = Field(1, ge=1)
    processes: int | None = Field(1, ge=1)
    config_file: str | None = None


class Evaluation(Options):
    """Held-out evaluation; intervals are bootstrap intervals over prompt families."""

    prompts: int = 140
    max_new_tokens: int = 64
    batch_size: int = 64
    bootstrap: int = 2000
    capability_items: int = 300


# Also the name of a folder and of a stage.
SetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class ExternalSet(Options):
    """A published evaluation set, which the models of the table answer and nothing learns from.

    ``source`` is a file (relative to the workspace's root), a hub's data set (of which ``split`` and
    ``config`` are taken), or a wheel of ``rbr.models.fetch.PROMPTS``. At most ``prompts`` are drawn, and as
    many labelled answers. ``skip_bad``: rows that cannot be read are left out and counted.
    """

    format: str
    source: str = Field(min_length=1)
    split: str = "train"
    config: str | None = None
    prompts: int = Field(500, gt=0)
    skip_bad: bool = False

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in PROMPT_FORMATS:
            raise ValueError(f"must be one of {', '.join(PROMPT_FORMATS)}")
        return name

    @property
    def files(self) -> tuple[str, ...]:
        """The file that it is read from; none of a hub's or a wheel's."""
        return (self.source,) if Path(self.source).suffix.lower() in SUFFIXES else ()


class Attacks(Options):
    """Attack forms (``data/source/safety_prompts/attack_forms``): what is trained in, and measured under.

    ``train_share`` of each response type's train prompts are put in frames; ``heldout_prompts`` of each
    held-out form are answered by every evaluated model, half of them to be refused.
    """

    train_share: float = Field(0.1, ge=0, le=1)
    heldout_prompts: int = Field(16, ge=0, multiple_of=2)


class Automation(Options):
    """Retraining that starts by itself."""

    quiet_seconds: float = Field(
        10.0, ge=0, description="how long rules/ must be left alone before a change counts"
    )


class Gates(Options):
    """Thresholds of the blocking checks."""

    family_min: int = 400
    prompts_min: int = 1600
    eval_prompts_min: int = 300
    comply_share_min: float = 0.45
    comply_share_max: float = 0.9
    lookalike_share_min: float = Field(0.5, description="of the prompts to be complied with")
    gold_rows_min: int = 600
    gold_support: int = 20
    gold_rare_support: int = 10
    gold_rare_count: int = 3
    grader_accuracy_min: float = 0.85
    nonsense_best_max: float = 0.05
    grader_proposition_min: float = 0.6
    comparison_confirmed_min: float = 0.75
    comparison_label_min: float = 0.5
    reward_accuracy_min: float = 0.55
    pair_error_max: float = 0.2
    # About two standard errors of a pair error near 0.05 on 60 held-out prompts.
    pair_error_rise_max: float = 0.05
    sft_loss_ratio_max: float = Field(
        1.2, description="last loss over first; a model's own answers leave little to learn"
    )
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
    capability_loss_margin: float = Field(
        0.15, description="held-out loss above the base model's, nats a token"
    )
    fluency_drop_max: float = Field(
        0.3, description="fluency below that of the base model's own answers, nats a token"
    )


class Settings(Options):
    """All settings of a profile (``profiles/<name>.yaml``)."""

    seed: int = 0
    threads: int | None = None
    grade_noise: float = Field(
        0.0, ge=0, le=0.5, description="share of the reward's grades turned round (ablation)"
    )
    variants: tuple[str, ...] = tuple(VARIANTS)
    models: Models = Models()
    prompts: SplitOptions = SplitOptions()
    attacks: Attacks = Attacks()
    gold: GoldOptions = GoldOptions()
    comparisons: Comparisons = Comparisons()
    human: Human = Human()
    grader: GraderOptions = GraderOptions()
    judge: Judge = Judge()
    reward_model: RewardModelOptions = RewardModelOptions()
    weights: WeightOptions = WeightOptions()
    demonstrations: DemonstrationOptions = DemonstrationOptions()
    sft: SFTOptions = SFTOptions()
    rl: RLOptions = RLOptions()
    launch: Launch = Launch()
    evaluation: Evaluation = Evaluation()
    external_eval: dict[SetName, ExternalSet] = Field(
        {}, description="published evaluation sets, by the name of their rows in the table"
    )
    scale: ClusterOptions = ClusterOptions()
    automation: Automation = Automation()
    gates: Gates = Gates()

    @field_validator("variants")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in VARIANTS]
        if unknown or len(set(names)) < len(names):
            raise ValueError(f"must name some of {', '.join(VARIANTS)}, each once")
        if MAIN.name not in names:
            raise ValueError(f"must name '{MAIN.name}': it is what is released")
        return names


def _check_events(text: str, path: Path) -> None:
    """Refuse what could fill any memory: aliases of aliases, and brackets in brackets."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        line = event.start_mark.line + 1 if event.start_mark else None
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise RBRError("YAML aliases (*name) are not taken: write it out", Place(path, line))
        if depth > MAX_DEPTH:
            raise RBRError(f"over {MAX_DEPTH} levels: no settings are so deep", Place(path, line))


def _check_node(node: Any, path: Path) -> None:
    """Refuse what YAML would read without a word, and otherwise than it is meant."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.tag == MERGE:
                raise RBRError(
                    "merge keys (<<) are not taken: write the settings out", _at(path, key)
                )
            if key.value in seen:
                raise RBRError(f"'{key.value}' stands twice: drop one", _at(path, key))
            seen.add(str(key.value))
            _check_node(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_node(item, path)
    elif node is not None and node.tag in AMBIGUOUS:
        ambiguous, mend = AMBIGUOUS[node.tag]
        if not node.style and ambiguous.match(node.value):
            text = f"'{node.value}' may be read as something else: {mend}, or put text in quotes"
            raise RBRError(text, _at(path, node))


def _at(path: Path, node: Any) -> Place:
    return Place(path, node.start_mark.line + 1, node.start_mark.column + 1)


def place_in(path: Path, location: Sequence[str | int]) -> Place:
    """Where a settings file has a value, or what comes nearest above it."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    found = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            at, node = pairs.get(str(part), (None, None))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            at = node = node.value[part]
        else:
            break
        found = at or found
    return _at(path, found) if found else Place(path)


def validated(kind: type[OptionsT], value: Any, path: Path, *above: str) -> OptionsT:
    """What a settings file says, as ``kind``.

    Args:
        above: the section that it stands in.

    Raises:
        RBRError: the first problem, at its line.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _settings_error(error, kind, path, *above) from error


def _settings_error(
    error: ValidationError, kind: type[BaseModel], path: Path, *above: str
) -> RBRError:
    problem = error.errors()[0]
    within = [part for part in problem["loc"] if part != "[key]"]
    message = MESSAGES.get(problem["type"]) or said(problem)
    if problem["type"] == "extra_forbidden":
        known = _keys(kind, within[:-1])
        message = f"unknown key; {suggest(str(within[-1]), known)}" if known else "unknown key"
    name = ".".join(str(part) for part in (*above, *within))
    return RBRError(f"{name}: {message}" if name else message, place_in(path, [*above, *within]))


def _models(annotation: Any) -> list[type[BaseModel]]:
    found = kinds_of(annotation)
    return [one for one in found if isinstance(one, type) and issubclass(one, BaseModel)]


def _keys(kind: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that a mapping may have; none where they cannot be told."""
    for part in location:
        field = kind.model_fields.get(str(part))
        models = _models(field.annotation) if field else []
        if len(models) != 1:
            return []
        kind = models[0]
    return list(kind.model_fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """A settings file's mapping of sections.

    Raises:
        RBRError: not there, too big, not UTF-8, not YAML, with tags or aliases, no mapping.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RBRError(f"over {MAX_BYTES} bytes: no settings file is", path)
        text = path.read_text(encoding="utf-8")
        _check_events(text, path)
        value = yaml.load(text, Loader=LOADER) or {}
        _check_node(yaml.compose(text, Loader=LOADER), path)
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
    return name, validated(Settings, written, root / "profiles" / f"{name}.yaml")


def read_section(root: Path, section: str, options: type[OptionsT]) -> OptionsT:
    """One section of the profile that ``params.yaml`` names; a command that needs no more starts sooner.

    Raises:
        RBRError: as ``read_settings`` does, on this section.
    """
    name, written = read_profile(root)
    path = root / "profiles" / f"{name}.yaml"
    return validated(options, written.get(section, {}), path, section)
