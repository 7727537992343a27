"""What the user names: files, bundles and networks are found."""
