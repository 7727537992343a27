"""Features: outlines on the Earth, and the formats that hold them."""
