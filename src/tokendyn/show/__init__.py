"""Figures, animations and HTML pages. They draw scenes and records and know no system's inside."""
