"""Zero-shot recognition methods, one file each."""
