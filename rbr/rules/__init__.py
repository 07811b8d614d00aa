"""The rules: what a safety team writes, as checked data."""

from rbr.rules.models import CLASS_NAMES, RESPONSE_TYPES, Proposition
from rbr.rules.rules import Rules, load_rules

__all__ = ["CLASS_NAMES", "RESPONSE_TYPES", "Proposition", "Rules", "load_rules"]
