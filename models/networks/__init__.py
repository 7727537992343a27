"""Semantic networks: encoders, and the architectures that are built on them."""
