"""Fuzzing of every reader: what is read (:mod:`targets`) and the search for inputs that break it (``run.py``)."""
