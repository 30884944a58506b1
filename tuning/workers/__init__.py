"""Execution of trials on a Ray cluster."""
