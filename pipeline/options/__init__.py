"""Options of the commands: their values, and how command lines and job files are read."""
