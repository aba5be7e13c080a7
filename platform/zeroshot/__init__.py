"""The science that every method shares: tasks, metrics, classifiers, the seen/unseen gate and calibration."""
