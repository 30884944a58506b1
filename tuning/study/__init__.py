"""What a search knows: its folder, its study, and what each session has cost."""
