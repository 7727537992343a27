"""Access files on this machine, in buckets and on servers, and lock them."""
