"""Gradients written by hand, beside the stated losses that they must equal; never the definition of a method."""
