"""Mask R-CNN: instance segmentation."""
