"""What a plan of a profile's own amounts needs to know of a workspace's models."""

from __future__ import annotations

from rbr.errors import RBRError
from rbr.files import read_json
from orchestration.planning.shapes import Shape, shape_of
from orchestration.planning.work import Models
from pipeline.profile import Models as Named
from pipeline.context import Context

# The models that a package brings, for a plan before anything was made.
EMBEDDED = {
    "smollm2": Shape(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
    ),
    "minilm": Shape(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=12,
        vocab_size=30522,
        hidden_act="gelu",
    ),
}


def shapes(context: Context) -> Models:
    """Shapes of the profile's models: as made, or else as known; the grader is the policy's backbone.

    Raises:
        RBRError: if a model is neither there nor known.
    """
    named: Named = context.settings.models
    policy = _shape(context, "base_model", named.policy)
    return Models(policy, policy, _shape(context, "judge_model", named.judge))


def _shape(context: Context, artifact: str, name: str) -> Shape:
    path = context.path(artifact) / "config.json"
    if path.is_file():
        return shape_of(read_json(path))
    if name in EMBEDDED:
        return EMBEDDED[name]
    raise RBRError(
        f"the shape of model '{name}' is not known: materialize {artifact}, or give a plan with its"
        " shape (--plan)",
        path,
    )
