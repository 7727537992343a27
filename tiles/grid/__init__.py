"""Windows of pixels, and the lattice of tiles and sheets over a raster."""
