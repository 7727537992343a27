"""From rasters to label maps in the prediction store: read, infer, stitch."""
