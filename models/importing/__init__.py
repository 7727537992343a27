"""Import networks from other tools: read, check and measure them, without running their own code."""
