"""The command line ``rbr``."""
