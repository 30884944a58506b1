"""Workflows of the commands: train, evaluate, rerank and export, without options and printing."""
