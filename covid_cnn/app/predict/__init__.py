"""The Predict page: an image, its answer, and what speaks for and against it."""
