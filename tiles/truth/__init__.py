"""What is true of a raster: labels and polygons to train on and to measure by."""
