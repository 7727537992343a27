"""Instances of detectors: linked across tiles, resolved, painted."""
