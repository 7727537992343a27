"""Safe opening of files: what they reference, where that lies, and which servers may be contacted."""
