"""Training: the protocols around a method's fit, checkpoints, saved models, and the one trainable."""
