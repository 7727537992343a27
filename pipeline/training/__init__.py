"""``terraseam train``."""
