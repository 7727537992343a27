"""Plan and run ``terraseam train``."""
