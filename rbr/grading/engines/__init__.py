"""Where a yes/no grader's model runs: in this process, under vLLM, or on a server."""
