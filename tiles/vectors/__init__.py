"""Vector files: read, and laid onto rasters."""
