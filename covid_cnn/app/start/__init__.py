"""The first page: a sample to try with one click."""
