"""A part of Toynette in place of the whole: judging by a fifth of its pictures saves half of what a notebook takes.

    python tests/part.py FOLDER      into this data folder of fastai's
"""
import shutil
import sys
from pathlib import Path

from sotalearn.toynette import make_toynette


def part_of_toynette(data):
    "Copy the first pictures of each class into fastai's data folder `data`."
    whole = make_toynette()
    for split, count in (('train', 60), ('val', 10)):
        for label in (whole/split).iterdir():
            place = Path(data)/whole.name/split/label.name
            place.mkdir(parents=True)
            for file in sorted(label.iterdir())[:count]: shutil.copy(file, place)


if __name__ == '__main__': part_of_toynette(sys.argv[1])
