"""Plan runs, and collect every reason why they cannot succeed."""
