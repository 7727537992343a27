"""Define default colours for classes."""

from __future__ import annotations

PALETTE = (
    "#c9b48a", "#2b6cb0", "#d1495b", "#3c9d5f", "#edae49", "#8e5ea2",
    "#00798c", "#e07a5f", "#7a7a7a", "#b5d33d", "#5f4b8b", "#f2a6c2",
)  # fmt: skip
"""Colours of classes without their own, repeated as needed."""
