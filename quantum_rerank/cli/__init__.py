"""Commands: `quantum-rerank --help`, or one of them by `python -m quantum_rerank.cli.NAME`."""
