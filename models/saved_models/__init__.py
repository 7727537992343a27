"""TensorFlow SavedModels, read before TensorFlow loads them."""
