"""The pipeline's artifacts as Dagster assets, one module each."""
