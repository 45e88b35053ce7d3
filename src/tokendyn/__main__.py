"""``python -m tokendyn`` is the command ``tokendyn``."""

from tokendyn.cli import main

main()
