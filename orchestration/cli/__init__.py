"""The command line ``rbr``."""

import gc

# Before anything else is imported: to look for garbage is a fifth of the start, and imports leave none.
gc.set_threshold(1_000_000)
