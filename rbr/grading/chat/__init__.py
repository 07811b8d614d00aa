"""Grading by chat models: instruct and reasoning models, policy followers, guards."""
