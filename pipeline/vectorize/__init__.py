"""From label maps to features: trace, close, sieve, settle instances."""
