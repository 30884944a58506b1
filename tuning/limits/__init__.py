"""What a search and its trials may use, and what happens when they use more."""
