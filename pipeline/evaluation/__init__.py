"""Plan and run ``terraseam evaluate``."""
