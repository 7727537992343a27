"""Reach (the receptive field) and memory use of networks, derived from their graphs."""
