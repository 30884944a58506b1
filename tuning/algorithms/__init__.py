"""Samplers that propose trials, and rules that stop weak ones."""
