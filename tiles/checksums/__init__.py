"""Checksums in raster files, which decoders ignore once they have all the pixels they need."""
