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


def want_memory(task, report):
    "Finds no memory as long as another task is at work beside it."
    folder, number = task
    at_work = Path(folder)/f'{number} is at work'
    at_work.touch()
    time.sleep(.5)                                      # both have begun
    others = len(list(Path(folder).glob('* is at work'))) > 1
    time.sleep(.5)                                      # both have looked
    at_work.unlink()
    if others or number < 0: raise MemoryError('none left')
    return number


def die_always(number, report):
    if number == 2: os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(.1)
    return number


def tell_and_wait(number, report):
    report(number)
    time.sleep(2.5)
