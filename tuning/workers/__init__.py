"""Where trials run: the cluster, one trial, its files."""
