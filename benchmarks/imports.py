"""What an import costs: ours against torch's and fastai's, each in fresh processes, in turn.

Prints a table of median seconds and the ratio to `import torch`, and writes benchmarks/imports.json.
"""
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

WAYS = {
    'python alone': 'pass',
    'import sotalearn': 'import sotalearn',
    'import torch': 'import torch',
    'from sotalearn.normalization import channel_stats': 'from sotalearn.normalization import channel_stats',
    'from fastai.vision.all import *': 'from fastai.vision.all import *',
}
ROUNDS = 7


def seconds(code):
    "How long a fresh Python takes to run `code`."
    start = time.perf_counter()
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
    return time.perf_counter() - start


def main():
    for code in WAYS.values(): seconds(code)            # once for the disk's cache
    taken = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, code in WAYS.items(): taken[name].append(seconds(code))
    medians = {name: statistics.median(o) for name, o in taken.items()}
    alone, torch = medians['python alone'], medians['import torch']
    print(f'{"":52} median s   less Python   of torch')
    for name, median in medians.items():
        print(f'{name:52} {median:8.3f}   {median - alone:11.3f}   {(median - alone)/(torch - alone):8.2f}')
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(rounds=ROUNDS, median_seconds=medians), indent=1) + '\n')


if __name__ == '__main__': main()
