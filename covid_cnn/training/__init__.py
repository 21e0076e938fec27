"""Networks that learn. Alone knows TensorFlow."""
