"""Training an enhancer: a generator against discriminators, on TensorFlow or JAX, and publishing it."""
