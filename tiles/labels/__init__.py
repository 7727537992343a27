"""Label maps: stitched from tiles, coded, and written."""
