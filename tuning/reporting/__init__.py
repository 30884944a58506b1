"""Reports on a search: while it runs, from another terminal, and at its end."""
