"""Features: outlines on the Earth, and the file formats that hold them."""
