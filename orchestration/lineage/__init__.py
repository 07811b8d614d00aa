"""Which data made which model: DVC for the files, MLflow for the runs."""
