"""Mask R-CNN: what finds single things and their masks."""
