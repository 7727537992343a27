"""Ground truth of rasters: labels and polygons for training and evaluation."""
