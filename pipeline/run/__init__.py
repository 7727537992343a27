"""Runs: the Beam graph, the runner, and what the driver looks after while it works."""
