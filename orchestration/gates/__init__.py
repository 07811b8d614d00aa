"""Gates: Great Expectations suites that an artifact must pass before the next step reads it."""

from orchestration.gates.run import Gate, code_digest, evaluate

__all__ = ["Gate", "code_digest", "evaluate"]
