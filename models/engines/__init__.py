"""Engines: what runs the network of a bundle on chips of raw raster values."""
