"""Scripts that print ratios against named baselines, measured in one run; results/ keeps their dated tables."""
