"""Usual rerankers, trained on the same labels and measured beside the rows of the experiments.

They are LambdaMART over the cosine and BM25, and the encoder itself, fine-tuned. Nobody needs a
circuit, or this project, for either of them.
"""
