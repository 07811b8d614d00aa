"""Rule Based Rewards: the method, as a plain library."""
