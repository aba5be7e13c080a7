"""What all methods share: tasks, metrics, classifiers, the seen/unseen gate and calibration."""
