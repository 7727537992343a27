"""Reach (the receptive field) and memory of networks, read from their graphs."""
