"""Plans: what would be done, how exact it is, and every reason why it cannot succeed."""
