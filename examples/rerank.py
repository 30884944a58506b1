"""Rank documents with an exported model.

    python examples/rerank.py runs/first

The argument is a bundle, or the folder of a search or a training.
"""

from __future__ import annotations

import sys

from quantum_rerank.reranker import Reranker

QUERY = "fear of spiders"
DOCUMENTS = ["Cholera", "Acrophobia", "Arachnophobia"]


def main(folder: str) -> None:
    """Print the documents, best first, with their scores."""
    reranker = Reranker.load(folder)
    for hit in reranker.rank(QUERY, DOCUMENTS):
        print(f"{hit.score:.3f}  {hit.document}")


if __name__ == "__main__":
    main(sys.argv[1])
