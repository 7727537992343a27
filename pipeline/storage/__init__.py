"""Files and objects on this machine, in buckets and on servers, and locks on them."""
