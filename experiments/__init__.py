"""The study: every model on many collections and seeds, told with intervals.

Two rows are hybrids, `default` and `tuned`. `tuned_twin` is their classical twin, tuned in the same
budget; every other model that is trained has the tuned hybrid's numbers and was not searched for
itself. Both searches chose on the validation queries and two chapters of ICD-10 alone: elsewhere
their numbers are transferred.
"""
