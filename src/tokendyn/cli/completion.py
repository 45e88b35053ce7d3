"""``tokendyn completion``: a script that lets a shell complete commands and options."""

import sys
from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Write a script for a shell to standard output, with which it completes commands, options and their values.

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    from tokendyn.cli.commands import app

    sys.stdout.write(app.generate_completion(shell=shell))
    return 0
