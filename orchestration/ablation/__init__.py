"""Ablations run on top of the main graph, each arm in a workspace of its own."""
