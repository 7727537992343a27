"""Networks from elsewhere: read, checked, measured, and made into bundles; nothing of their own code is run."""
