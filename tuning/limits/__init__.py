"""Limits of a search and its trials: time, memory, disk, failures."""
