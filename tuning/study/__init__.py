"""Storage of a search: its folder, its study, its trials' files."""
