"""Hyperparameter search: space files, Optuna's studies, Ray Tune's execution, and one resumable folder."""
