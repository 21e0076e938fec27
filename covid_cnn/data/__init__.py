"""Datasets: their images, classes and patients, and what is wrong with them."""
