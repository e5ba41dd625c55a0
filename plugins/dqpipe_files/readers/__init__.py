"""Readers: a source to a Dataset."""
