"""SavedModels of TensorFlow, read before TensorFlow loads them."""
