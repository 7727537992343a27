"""Turn label maps into features: trace, close and sieve regions, resolve instances."""
