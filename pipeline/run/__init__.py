"""Build the Beam graph, run it, and monitor the run from the driver."""
