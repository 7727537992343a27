"""Keras layers of our own that semantic networks are built of."""
