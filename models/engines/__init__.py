"""Engines: run the network of a bundle on chips of raw raster values."""
