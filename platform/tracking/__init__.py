"""MLflow: one parent run a search, one child run a configuration, each written once. Only the driver writes."""
