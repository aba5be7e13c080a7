"""Data folders: one format on disk, class splits, class text, and a reader for each published layout."""
