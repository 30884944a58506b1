"""One session of a search, from its checks to its summary."""
