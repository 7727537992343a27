"""Segment GeoTIFFs of any size, and write label maps and polygons without a visible seam.

The three packages lie beside this folder in the repository, which holds links to them: `terraseam.pipeline` composes
`terraseam.tiles` (rasters and geometry) and `terraseam.models` (networks) on Apache Beam.
"""
