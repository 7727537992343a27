"""Rasters and geometry: windows, tiles, stitching, polygons. Knows no Beam and no networks."""

if __name__ != "terraseam.tiles":
    raise ImportError("import terraseam.tiles, not tiles: a class that has two names exists twice")
