"""Production by one settings file: Dagster and MLflow on PostgreSQL, as processes with health checks."""
