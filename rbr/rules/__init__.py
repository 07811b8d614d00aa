"""The rules: what a safety team writes, as checked data."""

from rbr.rules.models import Proposition
from rbr.rules.rules import Rules, load_rules

__all__ = ["Proposition", "Rules", "load_rules"]
