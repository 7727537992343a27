"""Training of networks on chips, without rasters."""
