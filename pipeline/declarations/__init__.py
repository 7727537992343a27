"""How options are declared: `Option`, and readers of their values."""
