"""What a release shows: comparison table, model card, report, and the champion before it."""
