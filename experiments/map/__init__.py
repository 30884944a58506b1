"""A map of circuits against classical models of equal output size.

Every cell of the map is a number of outputs and a number of training queries.
"""
