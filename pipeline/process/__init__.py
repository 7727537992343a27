"""Set up this process: what it imports, how it keeps memory, and how much memory there is."""
