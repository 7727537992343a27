"""Metrics of label maps and polygons against the ground truth."""
