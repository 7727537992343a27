"""Custom Keras layers used by the semantic segmentation networks."""
