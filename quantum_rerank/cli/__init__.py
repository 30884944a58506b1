"""Commands of one training: `python -m quantum_rerank.cli.<name> --help`."""
