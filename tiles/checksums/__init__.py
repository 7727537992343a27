"""Checksums that files of rasters carry, which decoders do not look at when they have all the pixels they want."""
