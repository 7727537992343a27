"""Rasters: where they lie on the Earth, what their pixels mean, and reading them."""
