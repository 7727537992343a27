"""Where things are that tests look at."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The repository."""
