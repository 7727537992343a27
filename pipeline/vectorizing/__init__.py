"""``terraseam vectorize``: polygons of label rasters that somebody else made."""
