"""Publish results: the files of each raster, the manifest, and the history of runs."""
