"""Ablations: what is changed (``ablations/*.yaml``), and how the outcomes are compared."""
