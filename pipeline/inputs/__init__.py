"""Find the rasters, bundles and networks that the user names."""
