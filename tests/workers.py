"""Processes that run the same code together, as torchrun starts them."""

import subprocess
import sys


def run_together(code, count, folder):
    """Run code in so many processes, each given its rank and the folder; fail with what they said when one fails."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    workers = [subprocess.Popen([*command, str(rank), str(folder)], stderr=subprocess.PIPE) for rank in range(count)]
    errors = [worker.communicate(timeout=300)[1].decode() for worker in workers]
    assert all(worker.returncode == 0 for worker in workers), "\n".join(errors)
