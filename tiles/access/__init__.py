"""Opening files safely: what they name, where that lies, and which servers may be asked."""
