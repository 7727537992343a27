"""Code shared by all imported networks, whatever their format."""
