"""The study: every arm on many collections and seeds, told with intervals.

Two rows are hybrids, `default` and `tuned`; every other arm that is trained has the tuned numbers.
These were searched for the hybrids alone, and chosen on the validation queries and two chapters of
ICD-10 alone: elsewhere they are transferred, and no control was searched for itself.
"""
