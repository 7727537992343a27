"""Rasters: georeferencing, the meaning of their bands, and reading pixels."""
