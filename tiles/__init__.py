"""Rasters and geometry: windows, tiles, stitching, polygons. Knows no Beam and no networks."""
