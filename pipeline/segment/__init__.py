"""Read rasters, run the network and stitch label maps into the prediction store."""
