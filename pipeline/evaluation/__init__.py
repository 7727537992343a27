"""``terraseam evaluate``."""
