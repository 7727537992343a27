"""Measures of label maps and polygons against the truth."""
