"""Label maps: stitched from tiles, encoded, and written."""
