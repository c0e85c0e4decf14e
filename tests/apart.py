"""What other processes are asked to do in tests/test_side_by_side.py. They import nothing slow for it."""
import os
import signal
import time
from pathlib import Path


def root(number, report):
    if number < 0: raise ValueError(f'number must be 0 or more, got {number}')
    return number**.5


def die_at_first(task, report):
    "Kills its own process, the first time only."
    seen, number = task
    if number == 2 and not Path(seen).exists():
        Path(seen).write_text('')
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_always(number, report):
    if number == 2: os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(.1)
    return number


def tell_and_wait(number, report):
    report(number)
    time.sleep(2.5)
