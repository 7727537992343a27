"""Vector files: reading, and transforming to rasters."""
