"""The commands of terraseam: each parses its options, plans, runs, and says what came of it."""
