"""Semantic segmentation networks: encoders, and the architectures built on them."""
