"""The end of a search: confirmation on fresh seeds, the test queries, the exported bundle."""
