"""Readers of tokens and texts, named token configurations, and the small corpus of reviews."""
