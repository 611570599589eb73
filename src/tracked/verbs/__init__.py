"""The commands, each for any experiment."""
