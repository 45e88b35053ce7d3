"""Claims of the sources, validation studies and comparisons.

They may use every system and every rival; no system uses them.
"""
