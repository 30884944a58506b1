"""Options and checks of the commands."""
