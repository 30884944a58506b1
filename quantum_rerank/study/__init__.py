"""The study: every arm, untuned and tuned, on many collections and seeds, told with intervals."""
