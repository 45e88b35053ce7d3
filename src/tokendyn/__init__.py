"""Transformers as dynamical systems, and dynamical systems as transformers.

Importing this package is light: the modules that compute are imported when they are used.
"""

__version__ = "0.1.0"
