"""Pages that ``make ui`` serves beside Dagster and MLflow: the rules, data docs, reports, plots, guides."""
