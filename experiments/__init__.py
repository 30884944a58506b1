"""The repository's own experiments: every model on many collections and seeds.

Two rows are tuned: `tuned`, a hybrid, and `tuned_twin`, its classical twin, which was tuned with
the same budget. Every other trained model except `default` has the configuration of `tuned` and
was not tuned itself. Both searches used the validation queries and two chapters of ICD-10 only.
On other data sets their configurations are transferred.
"""
