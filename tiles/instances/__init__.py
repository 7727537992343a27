"""Instances of detectors: linked across tiles, settled, painted."""
