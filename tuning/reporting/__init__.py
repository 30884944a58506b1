"""What is told of a search: while it runs, from outside, and at its end."""
