"""Results: files of each raster, the manifest, and what is kept of earlier runs."""
