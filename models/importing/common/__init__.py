"""What all imported networks share, whatever format they come in."""
