"""Extractors that turn raw skeletons into features: ST-GCN and Shift-GCN, trained here or with published weights."""
