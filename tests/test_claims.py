"""Every figure of the prose that comes from a run, worked out anew from the tables and looked for in its sentence.

Nothing of the library is asked: rows are chosen and differences taken here, so an error would have to be made twice.
A claim is a chapter or the README, a piece of a sentence with a gap for each figure (a share in points, one digit,
unless it says otherwise), and the figures. `tests/test_languages.py` holds the Chinese to the same numbers.
"""
import re
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

ROOT = Path(__file__).parent.parent
EVERYTHING = pd.read_csv(ROOT/'results'/'runs.csv').fillna({'stages': ''})
TABLE = EVERYTHING[EVERYTHING.split.str.startswith('df7d245e', na=False)]
BASELINE = dict(arch='xresnet18', size=64, epochs=5, normalize=True, splitter='folders', stages='', mixup=0, cutmix=0,
                smoothing=0, train_images=0, wrong_labels=0)


@cache
def runs(**changes):
    "The runs of the baseline's recipe with some changes, by seed; shares in percent."
    wanted = BASELINE | changes
    found = TABLE[(TABLE[list(wanted)] == list(wanted.values())).all(axis=1)]
    assert len(found) > 1 and found.seed.is_unique, changes
    shares = {name: 100*found[name] for name in ('accuracy', 'accuracy_tta', 'confidence')}
    return found.assign(**shares).set_index('seed').sort_index()


def between(differences):
    "Their mean and its 95 % interval."
    half = stats.t.ppf(.975, len(differences) - 1)*differences.std()/len(differences)**.5
    return [differences.mean(), differences.mean() - half, differences.mean() + half]


def gap(ours, theirs={}, column='accuracy', to=None):
    "How far one recipe is ahead of another, seed by seed: mean, low, high."
    return between((runs(**ours)[column] - runs(**theirs)[to or column]).dropna())


def behind(*recipes, **columns):
    "How far the first is behind the second: mean, low, high."
    mean, low, high = gap(*recipes, **columns)
    return [-mean, -high, -low]


def means(column, *recipes): return [runs(**recipe)[column].mean() for recipe in recipes]
def tta(recipe): return gap(recipe, recipe, **JUDGED_TWICE)


@cache
def other(name, column):
    "The table of views or of transfer, a column a way."
    table = pd.read_csv(ROOT/'results'/f'{name}.csv').dropna(subset='split')
    return table.pivot(index='seed', columns='way', values=column)*(100 if column == 'accuracy' else 1)


def view(way, column='accuracy'): return between(other('views', column)[way] - other('views', column)['64 px'])
def moved(ours, theirs): return between(other('transfer', 'accuracy')[ours] - other('transfer', 'accuracy')[theirs])


def both_ways(ours, theirs):
    "Half the width of the paired interval and of Welch's, and how the seeds correlate."
    ours, theirs = (runs(**recipe).accuracy for recipe in (ours, theirs))
    _, low, high = between(ours - theirs)
    welch = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    return [(high - low)/2, (welch.high - welch.low)/2, np.corrcoef(ours, theirs)[0, 1]]


def epochs_at(size=64, epochs=5, stages='', **_):
    "A schedule as {size: epochs}; what is trained small first trains one epoch more at the last size."
    small = {int(side): int(n) for n, side in (stage.split('x') for stage in stages.split())}
    return small | {size: epochs + bool(small)}


def cost(**recipe): return sum(n*(size/64)**2 for size, n in epochs_at(**recipe).items())/5


def work(schedule, n_train, n_val):
    "Images that go through at a fixed cost and by area; one that validates counts as a third."
    images = {size: n*(n_train + n_val/3) for size, n in schedule.items()}
    return np.array([sum(images.values()), sum(n*(size/64)**2 for size, n in images.items())])


@cache
def toys(column):
    "What normalizing changes on Toynette, seed by seed: mean, low, high."
    drawn = EVERYTHING[(EVERYTHING.dataset == 'toynette') & EVERYTHING.split.notna()]
    by_seed = drawn.pivot(index='seed', columns='normalize', values=column)*(100 if column == 'accuracy' else 1)
    return between(by_seed[True] - by_seed[False])


@cache
def prices():
    "What an image costs, fixed and by area, by the relative least squares of chapter 02's epochs at six sides."
    table = pd.read_csv(ROOT/'results'/'cost.csv')
    timed = table[(table.sweep == 'side') & (table.what == 'epoch')]
    done = np.stack([np.ones(len(timed)), (timed.side/64)**2], axis=1)/timed.ms.to_numpy()[:, None]
    return np.linalg.lstsq(done, np.ones(len(done)))[0]


def times(ours, theirs):
    "How many times the processor's time of another recipe one takes on the official split."
    one, other = (work(epochs_at(**recipe), 9469, 3925) @ prices() for recipe in (ours, theirs))
    return one/other


def seeds_needed(difference, spread):
    "The fewest seeds that find a difference four times in five, by the noncentral t."
    for n in range(3, 200):
        edge, shift = stats.t.ppf(.975, n - 1), difference/spread*n**.5
        if stats.nct.sf(edge, n - 1, shift) >= .8: return n


def spread(ours, column='accuracy'): return (runs(**ours)[column] - runs().accuracy).std()
def off_by_chance(share, n): return 100*(share*(1 - share)/n)**.5
def entropy(*shares): return -sum(share*np.log(share) for share in shares)


def crossings():
    "After how many steps the hard and the smoothed line of chapter 07 cross zero, by the cell's output."
    path, = (ROOT/'nbs').glob('07_*.ipynb')
    shown = re.search(r"'hard': (\d+), 'smoothed': (\d+), 'mixed': None", path.read_text(encoding='utf-8'))
    return [float(step) for step in shown.groups()]


MIXUP, CUTMIX, SMOOTH, BOTH = dict(mixup=.4), dict(cutmix=1), dict(smoothing=.1), dict(mixup=.4, smoothing=.1)
EIGHT, LARGE, LONG, EIGHTY = dict(epochs=8), dict(size=128), dict(size=32, epochs=80), dict(epochs=80)
FIRST, NOTES = dict(epochs=2, stages='6x32'), dict(stages='4x32')
FIRST_LARGE, NOTES_LARGE = dict(LARGE, epochs=2, stages='6x64'), dict(LARGE, stages='4x64')
RANDOM, REDRAWN = dict(NOTES_LARGE, splitter='random'), dict(NOTES_LARGE, splitter='redrawn')
FEW, FEW_LONG = dict(train_images=1000), dict(train_images=1000, size=32, epochs=40)
WRONG = dict(train_images=2000, size=32, epochs=20, wrong_labels=.2)
TOGETHER, JUDGED_TWICE = dict(FIRST, **BOTH), dict(column='accuracy_tta', to='accuracy')
LONG_MIXUP, LONG_CUTMIX, LONG_SMOOTH, LONG_BOTH = (dict(LONG, **change) for change in (MIXUP, CUTMIX, SMOOTH, BOTH))
tables = other('transfer', 'accuracy')
harm = between((tables.small_first - tables.full) - (tables.scratch_small_first - tables.scratch))
floor = special.digamma(1.8) - special.digamma(1.4)
kept = stats.beta(.4, .4)
narrow = [both_ways(MIXUP, {}), both_ways(dict(FEW, **MIXUP), FEW), both_ways(LARGE, EIGHT)]
alike = sorted(both_ways(change, {})[2] for change in (dict(normalize=False), FIRST, MIXUP, CUTMIX, SMOOTH, TOGETHER))
part = [(gap(dict(FEW, **change), FEW, **how), gap(change, **how)) for change, how in
        [*((change, {}) for change in (FIRST, MIXUP, SMOOTH)), *((change, JUDGED_TWICE) for change in ({}, FIRST))]]
wider = sorted((small[2] - small[1])/(whole[2] - whole[1]) for small, whole in part)
needed = [[seeds_needed(points, spread(*of)) for of in (
    (dict(normalize=False),), (FIRST,), ({}, 'accuracy_tta'), (FIRST, 'accuracy_tta'), (MIXUP,), (CUTMIX,), (SMOOTH,),
    (TOGETHER, 'accuracy_tta'))] for points in (1, .5)]
by_t = {n: stats.t.ppf(.975, n - 1) for n in (2, 3, 5, 9)}

CLAIMS = [
    ('02', 'trained on {:,.0f} pictures instead of {:,.0f}', means('n_train', dict(splitter='random'), {})),
    ('02', '{:,.0f} | {:,.0f} | fewer examples', means('n_train', dict(splitter='random'), {})),
    ('03', "Nor can those on Toynette's drawn pictures ({} to {:+.1f})", toys('accuracy')[1:]),
    ('03', 'the validation loss there is lower, by {:.2f} ({:.2f} to {:.2f})',
     [-toys('valid_loss')[i] for i in (0, 2, 1)]),
    ('04', 'But it takes {} times as long', [times(NOTES, {})]),
    ('04', 'by 1.5, for {} times the time', [times(FIRST_LARGE, EIGHT)]),
    ('04', 'and they win: by {} points ({} to {})', gap(FIRST_LARGE, LARGE)),
    ('04', ', with TTA by {}.\n\nAt 64 px', gap(FIRST_LARGE, LARGE, 'accuracy_tta')[:1]),
    ('04', '4×32 + (1+5)×64 is {} points behind plain 8×64', behind(NOTES, EIGHT)[:1]),
    ('04', 'plain 8×64, and {} with TTA', behind(NOTES, EIGHT, column='accuracy_tta')[:1]),
    ('04', 'with TTA it is {} points ahead', gap(FIRST, column='accuracy_tta')[:1]),
    ('04', 'ten epochs against five, and {} points more', gap(NOTES)[:1]),
    ('04', '8×64 is ahead of them, by {} points ({:.2f} to {:.2f})', gap(EIGHT, LARGE)),
    ('04', 'is ahead of 8×64, by {} points ({} to {})', gap(FIRST_LARGE, EIGHT)),
    ('04', 'and with TTA by {}, for', gap(FIRST_LARGE, EIGHT, 'accuracy_tta')[:1]),
    ('04', 'eight epochs instead of five brought {} points', gap(EIGHT)[:1]),
    ('04', 'Redrawing comes out {} points ahead, with an interval from {} to {}', gap(REDRAWN, RANDOM)),
    ('04', '{} points above the folders ({} to {})', gap(RANDOM, NOTES_LARGE)),
    ('04', 'trains on {:,.0f} pictures instead of {:,.0f}', means('n_train', RANDOM, {})),
    ('04', 'small first costs {} points', [-moved('small_first', 'full')[0]]),
    ('04', 'interval from {} to {:+.1f}. From scratch', moved('small_first', 'full')[1:]),
    ('04', 'it costs {},', [-moved('scratch_small_first', 'scratch')[0]]),
    ('04', 'from {} to {:+.1f}. Zero is inside both', moved('scratch_small_first', 'scratch')[1:]),
    ('04', 'it gives {} points over starting from scratch, from {} to {:+.1f}', moved('full', 'scratch')),
    ('04', 'With small first it gives {}, from {} to {}:', moved('small_first', 'scratch_small_first')),
    ('04', 'By these runs {} points less, from {} more to {} less', [harm[0], -harm[1], harm[2]]),
    ('04', 'won at 128 px, by {} points, and lost at 64 px, by {}.',
     [gap(FIRST_LARGE, LARGE)[0], behind(NOTES, EIGHT)[0]]),
    ('05', 'the baseline {} points at 64 pixels ({} to {}) and {} at 128 ({} to {})', tta({}) + tta(LARGE)),
    ('05', 'they are {} % right, those were {} %',
     [other('views', 'accuracy')['64 px'].mean(), *means('accuracy', {})]),
    ('05', 'Four random views gain {} points ({} to {})', view('random')),
    ('05', 'the corners and the centre {} ({} to {})', view('corners')),
    ('05', 'lower it by {:.3f} ({:.3f} to {:.3f})', [-view('random', 'nll')[i] for i in (0, 2, 1)]),
    ('05', 'beside the plain one gains {} ({} to {})', view('64 px, mirrored')),
    ('05', 'It gains {:.3f} for three passes, with an interval from {:.3f} to {:.3f}', view('ends')),
    ('05', '72 px costs {} points, 80 px {}, 96 px {}.', [-view(f'{size} px')[0] for size in (72, 80, 96)]),
    ('06', 'a picture keeps {:.3f} of itself on average, and {:.0f} % of all pictures',
     [2*kept.expect(lambda share: share, lb=.5, ub=1), 200*kept.sf(.9)]),
    ('06', '= {:.3f}$, the entropy of the target', [entropy(.3, .7)]),
    ('06', '= {:.2f}$; to be surer', [np.log(.7/.3)]),
    ('06', 'ten classes that is {:.3f}.', [.9*floor]),
    ('06', 'the floor is {:.3f}.', [(1 - 1/64)*.9*floor]),
    ('06', 'ten classes {:.3f} in large batches, {:.3f} in batches of 64', [.9*floor, (1 - 1/64)*.9*floor]),
    ('06', 'costs {} points of accuracy. The interval goes from {} to {} and', behind(MIXUP)),
    ('06', 'The baseline says {} % and gets {} % right', [*means('confidence', {}), *means('accuracy', {})]),
    ('06', 'training loss, {:.2f}, is about as high as its validation loss, {:.2f}',
     [*means('train_loss', {}), *means('valid_loss', {})]),
    ('06', 'the error grows, from {:.3f} to {:.3f}', means('ece', {}, MIXUP)),
    ('06', 'plain training leads, by {} points over Mixup and by {} over CutMix',
     [behind(MIXUP)[0], behind(CUTMIX)[0]]),
    ('06', 'Mixup is {} points ahead ({} to {}), CutMix {} ({} to {})', gap(LONG_MIXUP, LONG) + gap(LONG_CUTMIX, LONG)),
    ('06', 'the more accurate of the two, by {} points ({} to {})', gap(LONG_CUTMIX, LONG_MIXUP)),
    ('06', 'its calibration error is larger, {:.3f} against {:.3f}', means('ece', LONG_CUTMIX, LONG_MIXUP)),
    ('06', 'training loss is down to {:.2f}, while the loss on pictures it has not seen is {:.2f}. It claims {:.0f} % '
     'and gets {:.0f} % right', [runs(**LONG)[of].mean() for of in ('train_loss', 'nll', 'confidence', 'accuracy')]),
    ('06', 'stays at {:.2f}, above its floor, and the network claims {:.0f} % and gets {:.0f} % right; −log p is '
     '{:.2f}',
     [runs(**LONG_MIXUP)[of].mean() for of in ('train_loss', 'confidence', 'accuracy', 'nll')]),
    ('06', 'calibration error {:.3f} instead of {:.3f}', means('ece', LONG_MIXUP, LONG)),
    ('06', 'More: {} points ({} to {}) instead of {}.', behind(dict(FEW, **MIXUP), FEW) + behind(MIXUP)[:1]),
    ('06', "the baseline's {:.2f} is not even below its {:.2f}",
     [*means('train_loss', FEW), *means('valid_loss', FEW)]),
    ('06', 'It does, a little: {} points ({} to {})', gap(dict(FEW_LONG, **MIXUP), FEW_LONG)),
    ('06', 'training loss is {:.2f}, its validation loss {:.2f}, and it claims {:.0f} % where it gets {:.0f} % right',
     [runs(**FEW_LONG)[of].mean() for of in ('train_loss', 'valid_loss', 'confidence', 'accuracy')]),
    ('06', 'Mixup takes the calibration error from {:.3f} to {:.3f}', means('ece', FEW_LONG, dict(FEW_LONG, **MIXUP))),
    ('06', 'calibration error is larger instead, by {:.3f} ({:.3f} to {:.3f})', gap(dict(EIGHTY, **CUTMIX), EIGHTY, 'ece')),
    ('06', 'eighty epochs at 64 pixels pay, too, by {} points ({} to {})', gap(dict(EIGHTY, **MIXUP), EIGHTY)),
    ('06', 'at 64 px {} points less after 5 epochs and {} more after 80',
     [behind(MIXUP)[0], gap(dict(EIGHTY, **MIXUP), EIGHTY)[0]]),
    ('07', 'log 91 = {:.3f}.$$', [np.log(91)]),
    ('07', 'a training loss of {:.4f} is a perfect score', [entropy(.91) + 9*entropy(.01)]),
    ('07', 'it takes {:.0f} pairs to find 0.2 points', [seeds_needed(.2, spread(SMOOTH))]),
    ('07', 'from about step {:.0f} on, the smoothed one from about step {:.0f}', crossings()),
    ('07', 'claims {:.0f} % on average and gets {:.0f} % right',
     [*means('confidence', LONG), *means('accuracy', LONG)]),
    ('07', 'the interval, from {} to {:+.1f} points, holds 0', gap(SMOOTH)[1:]),
    ('07', 'says what it is worth, {} % against {} %', [*means('confidence', {}), *means('accuracy', {})]),
    ('07', 'calibration error grows from {:.3f} to {:.3f} and −log p from {:.3f} to {:.3f}',
     means('ece', {}, SMOOTH) + means('nll', {}, SMOOTH)),
    ('07', 'One temperature, {:.2f}, takes', means('temperature', SMOOTH)),
    ('07', 'it claims {} % and gets {} % right. The smoothed one claims {} % and gets {} % right',
     [runs(**recipe)[of].mean() for recipe in (LONG, LONG_SMOOTH) for of in ('confidence', 'accuracy')]),
    ('07', 'error is {:.3f} instead of {:.3f}, and its −log p {:.2f} instead of {:.2f}',
     means('ece', LONG_SMOOTH, LONG) + means('nll', LONG_SMOOTH, LONG)),
    ('07', 'more right answers, by {} points. But the interval, {:.2f} to {}, only', gap(LONG_SMOOTH, LONG)),
    ('07', 'temperature is {:.2f}, and with it the calibration error falls to {:.3f} and −log p to {:.2f}',
     [runs(**LONG)[of].mean() for of in ('temperature', 'ece_scaled', 'nll_scaled')]),
    ('07', 'has the smallest, {:.3f}.', means('ece_scaled', LONG)),
    ('07', 'Mixup alone, with {:.3f}, cannot be told', means('ece_scaled', LONG_MIXUP)),
    ('07', 'worse than plain training, {:.2f} against {:.2f}', means('nll_scaled', LONG_SMOOTH, LONG)),
    ('07', 'CutMix is better, {:.2f}:', means('nll_scaled', LONG_CUTMIX)),
    ('07', 'from Mixup alone ({} to {:+.1f} points)', gap(LONG_BOTH, LONG_MIXUP)[1:]),
    ('07', 'calibration error grows from {:.3f} to {:.3f}. Two', means('ece', LONG_MIXUP, LONG_BOTH)),
    ('07', 'calibration error grows from {:.3f} to {:.3f}, for here', means('ece', FEW, dict(FEW, **SMOOTH))),
    ('07', 'better calibrated one, by {:.3f},', behind(dict(FEW, **SMOOTH), FEW, column='ece_scaled')[:1]),
    ('07', 'it falls from {:.3f} to {:.3f}. But one temperature takes the hard model further down, to {:.3f}',
     means('ece', FEW_LONG, dict(FEW_LONG, **SMOOTH)) + means('ece_scaled', FEW_LONG)),
    ('07', 'then ahead, {:.2f} against {:.2f}', means('nll_scaled', FEW_LONG, dict(FEW_LONG, **SMOOTH))),
    ('07', 'The accuracy: {} to {:+.1f} points', gap(dict(FEW_LONG, **SMOOTH), FEW_LONG)[1:]),
    ('07', 'It claims {} % and gets {} % right, for the wrong labels',
     [*means('confidence', WRONG), *means('accuracy', WRONG)]),
    ('07', 'it claims {} %, and the calibration error grows from {:.3f} to {:.3f}',
     [*means('confidence', dict(WRONG, **SMOOTH)), *means('ece', WRONG, dict(WRONG, **SMOOTH))]),
    ('07', 'The accuracy, {} to {:+.1f} points', gap(dict(WRONG, **SMOOTH), WRONG)[1:]),
    ('07', 'nobody can tell either ({} to {:+.1f}), and its calibration error is {:.3f}. With a temperature '
     'on both sides it is the better calibrated one, {:.3f} against {:.3f}; but from the hard model without one, '
     '{:.3f}, nobody', gap(dict(WRONG, **MIXUP), WRONG)[1:]
     + means('ece', dict(WRONG, **MIXUP)) + means('ece_scaled', dict(WRONG, **MIXUP), WRONG) + means('ece', WRONG)),
    ('07', 'training loss is {:.2f}, and', means('train_loss', WRONG)),
    ('07', 'its loss is {:.2f} and a fifth', means('nll', WRONG)),
    ('07', 'calibration error smaller still, {:.3f} against {:.3f}', means('ece_scaled', LONG) + means('ece', LONG_MIXUP)),
    ('07', 'in one training only, eighty epochs at 32 pixels: {} points', gap(LONG_SMOOTH, LONG)[:1]),
    ('07', 'after 80 epochs it is {} points ahead at 32 pixels', gap(LONG_SMOOTH, LONG)[:1]),
    ('08', 'CutMix is better than plain training by {} points ({} to {}), Mixup by {} ({} to {}), and with smoothing by '
     '{} ({} to {}), not to be told from Mixup alone. Of smoothing', [figure for change in (CUTMIX, MIXUP, BOTH)
                                     for figure in gap(dict(EIGHTY, **change), EIGHTY)]),
    ('08', 'correlation is {:.2f}, and pairing narrows the interval from ±{:.2f} to ±{:.2f}', narrow[0][::-1]),
    ('08', 'correlation is {:.2f}, and pairing widens it, from ±{:.2f} to ±{:.2f}', narrow[1][::-1]),
    ('08', 'even negative, {:.2f}, and pairing takes ±{:.2f} where two groups give ±{:.2f}',
     [narrow[2][i] for i in (2, 0, 1)]),
    ('08', 'correlate with the baseline by {:.2f} to {:.2f}, one by {:.2f}', [alike[1], alike[-1], alike[0]]),
    ('08', 'intervals are {} to {} times as wide', [wider[0], wider[-1]]),
    ('08', 'it is {} for two seeds, {} for three, {} for five', [by_t[2], by_t[3], by_t[5]]),
    ('08',
     'the factor $t$ is {}, with two groups of five it is {}. So with five seeds pairing pays from about $r = {:.2f}$',
     [by_t[5], by_t[9], 1 - (by_t[9]/by_t[5])**2]),
    ('08', 'at {:.0f} % right, chance alone moves a figure by about {} points',
     [*means('accuracy', {}), off_by_chance(runs().accuracy.mean()/100, 3925)]),
    ('08', 'still has a standard error of {} points', [100*(.2/3925)**.5]),
    ('08', 'about {:.0f} %; however they depend, at least {:.0f} %', [100*.95**8, 100*(1 - 8*.05)]),
    ('08', 'take {:.1f} times as long as the baseline', [times(LONG, {})]),
    ('08', 'They are only {:.0f} times the pixels', [cost(**LONG)]),
    ('08', "chapter 02's epochs: {:.0f} for the baseline", [work(epochs_at(), 9469, 3925) @ prices()/60_000]),
    ('08', 'at 64 px eighty epochs instead of five: {:+.1f} ({} to {}), three seeds |', gap(EIGHTY)),
    ('08', 'chapter 07: {:+.1f} after 80 epochs at 32 px; at 64 the runs cannot tell', gap(LONG_SMOOTH, LONG)[:1]),
    ('08', 'chapter 06: with 0.4 {:+.1f} after 80 epochs at 32 px, {:+.1f} at 64',
     [gap(LONG_MIXUP, LONG)[0], gap(dict(EIGHTY, **MIXUP), EIGHTY)[0]]),
    ('08', 'chapter 06: alone {:+.1f} after 80 epochs at 32 px, {:+.1f} at 64',
     [gap(LONG_CUTMIX, LONG)[0], gap(dict(EIGHTY, **CUTMIX), EIGHTY)[0]]),
    ('08', 'chapter 05: trained at 64, tested at 72, {} |', view('72 px')[:1]),
    ('08', 'which take {} times as long, the runs', [times(EIGHT, {})]),
    ('08', 'cost {:g} times as many pixels', [cost(**LARGE)/cost(**EIGHT)]),
    ('08', 'longer schedule, for {:g} times', [cost(**NOTES_LARGE)/cost(**EIGHT)]),
    ('08', 'one point takes {:.0f} or {:.0f} seeds, half a point {:.0f} to {:.0f}',
     [edge(row) for row in needed for edge in (min, max)]),
    ('08', 'the eight epochs have {} and the progressive run {};', [cost(**EIGHT), cost(**NOTES)]),
    ('08', 'chance alone moves a figure by {:.2f} points', [off_by_chance(.8, 50_000)]),
    ('08', 'less sure of itself, by {:.0f} points', behind(SMOOTH, column='confidence')[:1]),
    ('08', 'TTA is better, by {} points ({} to {})', tta({})),
    ('08', 'with progressive resizing beneath it by {} ({} to {})', gap(FIRST, {}, 'accuracy_tta', 'accuracy')),
    ('08', 'after five epochs, by {} ({} to {}) and {} points ({} to {})', behind(MIXUP) + behind(CUTMIX)),
    ('08', 'better than the baseline, by {} points ({} to {})', gap(TOGETHER, {}, 'accuracy_tta', 'accuracy')),
    ('08', 'put beside tta, it is {} ({} to {:+.1f})', gap(TOGETHER, column='accuracy_tta')),
    ('08', 'it is worse, by {} ({} to {})', behind(TOGETHER, FIRST, column='accuracy_tta')),
    ('08', 'Mixup by {} points ({} to {}), CutMix by {} ({} to {})', gap(LONG_MIXUP, LONG) + gap(LONG_CUTMIX, LONG)),
    ('08', 'is better, too, by {} ({:.2f} to {})', gap(LONG_SMOOTH, LONG)),
    ('08', 'Mixup and smoothing together are better by {} ({} to {})', gap(LONG_BOTH, LONG)),
    ('08', 'a few epochs more, {} points ({} to {}) for', gap(EIGHT)),
    ('08', 'reach, plain, {} %', means('accuracy', LONG)),
    ('08', 'worse than eight at 64, by {} points ({:.2f} to {})', behind(LARGE, EIGHT)),
    ('08', 'by {} ({} to {}) than the eight, for {:g} times the pixels',
     [*gap(FIRST_LARGE, EIGHT), cost(**FIRST_LARGE)/cost(**EIGHT)]),
    ('08', 'with TTA on both sides by {} ({} to {})', gap(FIRST_LARGE, EIGHT, 'accuracy_tta')),
    ('08', 'eight epochs at 64 as well, by {} ({:.2f} to {})', gap(NOTES_LARGE, EIGHT)),
    ('08', 'Progressive over five epochs is {} points ({} to {})', gap(NOTES)),
    ('08', 'time alone brings {} ({} to {})', gap(EIGHT)),
    ('08', 'the small pictures are {} points ({} to {}) behind', behind(NOTES, EIGHT)),
    ('08', 'the same schedule stands {} points ({} to {}) higher', gap(RANDOM, NOTES_LARGE)),
    ('08', 'stands another {} higher, with an interval from {} to {:+.1f}', gap(REDRAWN, RANDOM)),
    ('08', 'Its gain is {} points ({} to {}) on the official split and {} ({} to {}) on the leak',
     tta(NOTES_LARGE) + tta(REDRAWN)),
    ('08', 'Mixup costs {} points ({} to {}) on the part and {} ({} to {}) on the whole',
     behind(dict(FEW, **MIXUP), FEW) + behind(MIXUP)),
    ('08', 'Three more brought {} points here', gap(EIGHT)[:1]),
    ('08', 'TTA on the baseline you have: {} points here', tta({})[:1]),
    ('08', 'if you need large pictures: {} points ({} to {})', gap(FIRST_LARGE, LARGE)),
    ('08', 'one schedule lost {} points in level time', behind(NOTES, EIGHT)[:1]),
    ('08', 'with TTA on both sides it is {} ahead', gap(FIRST, column='accuracy_tta')[:1]),
    ('08', 'In five epochs at 64 pixels they cost {} and {} points; in eighty they brought {} and {}, and at 32 pixels {} '
     'and {}.', [behind(MIXUP)[0], behind(CUTMIX)[0], *(gap(dict(long, **change), long)[0] for long in (EIGHTY, LONG)
                                                       for change in (MIXUP, CUTMIX))]),
    ('questionnaire', 'only costs: {} points of accuracy', behind(MIXUP)[:1]),
    ('questionnaire', 'after 80 epochs Mixup was ahead, by {} points at 32 pixels and by {} at 64',
     [gap(LONG_MIXUP, LONG)[0], gap(dict(EIGHTY, **MIXUP), EIGHTY)[0]]),
    ('questionnaire', 'five epochs of it cost {} points, and forty epochs (at 32 px) brought {} (chapter 06)',
     behind(dict(FEW, **MIXUP), FEW)[:1] + gap(dict(FEW_LONG, **MIXUP), FEW_LONG)[:1]),
    ('README', '({:,.0f} training and {:,.0f} validation photographs)', means('n_train', {}) + means('n_val', {})),
    ('README', 'five seeds: {} %.', means('accuracy', {})),
    ('README', 'Three more epochs | {:+.1f} ({:+.1f} to {:+.1f}) | × {:g} |', [*gap(EIGHT), cost(**EIGHT)]),
    ('README', 'TTA, four views | {:+.1f} ({:+.1f} to {:+.1f}) | × {:g}, and', [*tta({}), cost()]),
    ('README', 'Small pictures first, at 128 px | {:+.1f} ({:+.1f} to {:+.1f}) over plain 128 px | × {:g} of those |',
     [*gap(FIRST_LARGE, LARGE), cost(**FIRST_LARGE)/cost(**LARGE)]),
    ('README', 'Mixup in five epochs | {:+.1f} ({:+.1f} to {:+.1f}) | × {:g} |', [*gap(MIXUP), cost(**MIXUP)]),
    ('README', 'CutMix in five epochs | {:+.1f} ({:+.1f} to {:+.1f}) | × {:g} |', [*gap(CUTMIX), cost(**CUTMIX)]),
    ('README', 'eighty epochs at 32 px take {} times the baseline', [times(LONG, {})]),
    ('README', 'Mixup in eighty, at 32 px | {:+.1f} ({:+.1f} to {:+.1f}) over eighty plain epochs | × {:g} |',
     [*gap(LONG_MIXUP, LONG), cost(**LONG_MIXUP)]),
    ('README', 'CutMix in eighty, at 32 px | {:+.1f} ({:+.1f} to {:+.1f}) over eighty plain epochs | × {:g} |',
     [*gap(LONG_CUTMIX, LONG), cost(**LONG_CUTMIX)]),
    ('README', '4×32 + (1+5)×64 is {} points, {} to {}, behind plain training that takes as long', behind(NOTES, EIGHT)),
    ('README', 'CutMix in eighty, at 64 px, three seeds | {:+.1f} ({:+.1f} to {:+.1f}) over eighty plain epochs, to {} % | '
     '× {:g} |', [*gap(dict(EIGHTY, **CUTMIX), EIGHTY), *means('accuracy', dict(EIGHTY, **CUTMIX)), cost(**EIGHTY)])]


def price(size): return prices() @ [1, (size/64)**2]


IN_WORDS = [                                                           # a piece of a sentence, a figure and its bounds
    ('04', 'such an epoch costs about a third of a large one', price(64)/price(128), .3, .4),
    ('04', 'such an epoch still costs nearly half', price(32)/price(64), .45, .5),
    ('04', 'takes a sixth more time than', times(FIRST, {}), 1.15, 1.18),
    ('04', 'in half their time', times(EIGHT, LARGE), .48, .52),
    ('08', 'By the clock it is a sixth more than the baseline', times(FIRST, {}), 1.15, 1.18),
    ('05', 'brings about a third of the gain', view('64 px, mirrored')[0]/view('random')[0], .3, .4),
    ('06', 'is about as high as its validation loss', runs().train_loss.mean()/runs().valid_loss.mean(), .95, 1.05),
    ('07', 'that had not it would be above 1.5', .8*(nll := runs(**WRONG).nll.mean())
     - .2*np.log((1 - np.exp(-nll))/9), 1.5, 1.6),                     # the least that a fifth of wrong labels adds
    ('08', 'with about a tenth of the training steps', 1000/9469, .1, .11),
    ('README', '5 epochs, five seeds', len(runs()), 4, 6),
    ('README', '6×32 + (1+2)×64, small pictures first, which take a sixth more time', times(FIRST, {}), 1.15, 1.18),
    ('08', 'the other takes a sixth more', times(FIRST, {}), 1.15, 1.18),
    ('README', 'and at 128 px small pictures first take as long as plain training', times(FIRST_LARGE, LARGE), .97, 1.03),
    ('README', 'behind plain training that takes as long', times(NOTES, EIGHT), .95, 1.05),
    ('08', 'one schedule lost 1.9 points in level time', times(NOTES, EIGHT), .95, 1.05)]


@pytest.mark.parametrize('chapter, piece, figure, low, high', IN_WORDS, ids=[' '.join(words[:2]) for words in IN_WORDS])
def test_a_figure_in_words_is_that_of_the_runs(chapter, piece, figure, low, high):
    assert piece in prose(chapter) and low < figure < high


@cache
def prose(chapter):
    "The English text of a chapter or of the README without links' targets and marks."
    if chapter == 'README': text = (ROOT/'README.md').read_text(encoding='utf-8')
    else:
        path, = [*(ROOT/'nbs').glob(f'{chapter}_*.ipynb'), *(ROOT/'nbs'/'questions').glob(f'{chapter}.ipynb')]
        cells = nbformat.read(path, as_version=4).cells
        text = '\n\n'.join(cell.source for cell in cells if 'en' in cell.metadata.get('tags', []))
    return re.sub(r'\]\([^)]*\)|[][*`]', '', text)


def told(piece, figures):
    "A piece of a sentence with the figures in its gaps."
    figures = iter(figures)
    filled = re.sub(r'\{:?([^}]*)\}', lambda gap: format(next(figures), gap[1] or '.1f').replace('-', '−'), piece)
    assert next(figures, None) is None, piece
    return filled


@pytest.mark.parametrize('chapter, piece, figures', CLAIMS, ids=[' '.join(claim[:2])[:50] for claim in CLAIMS])
def test_a_sentence_has_the_figures_of_the_runs(chapter, piece, figures):
    assert told(piece, figures) in prose(chapter)


@pytest.mark.parametrize('chapter', sorted({chapter for chapter, *_ in CLAIMS}))
def test_every_interval_of_a_chapter_is_among_the_claims(chapter):
    rest = prose(chapter)
    for where, piece, figures in CLAIMS:
        if where == chapter: rest = rest.replace(told(piece, figures), ' ')
    assert re.findall(r'.{,30}[+−]?\d+\.\d{1,3} to [+−]?\d+\.\d+', rest) == []       # the notes' own have six digits


def test_what_the_readme_cannot_tell_has_zero_in_its_interval():
    assert 'cannot tell whether four things raise or lower the accuracy: normalization and label' in prose('README')
    for change, theirs in ((dict(normalize=False), {}), (SMOOTH, {}), (dict(EIGHTY, **SMOOTH), EIGHTY), (FIRST, {})):
        _, low, high = gap(change, theirs)
        assert low < 0 < high, change


def test_a_temperature_beats_no_hard_model_that_has_none_where_it_is_said():
    assert 'From the hard model without a temperature nobody can tell it.' in prose('07')
    for small, change in ((FEW, SMOOTH), (WRONG, MIXUP)):
        _, low, high = gap(dict(small, **change), small, 'ece_scaled', 'ece')
        assert low < 0 < high, change


def test_what_is_said_of_64_px_without_a_figure():
    assert 'at 64 pixels, three seeds, not all do: there CutMix\'s calibration error is the larger one' in prose('07')
    assert 'by it smoothing with Mixup cannot be told from plain training' in prose('07')
    assert gap(dict(EIGHTY, **CUTMIX), EIGHTY, 'ece')[1] > 0 > gap(LONG_CUTMIX, LONG, 'ece')[2]
    assert 'three seeds cannot tell the two apart' in prose('07')
    _, low, high = gap(dict(EIGHTY, **MIXUP), EIGHTY, 'ece', 'ece_scaled')
    assert low < 0 < high < .05 and gap(LONG_MIXUP, LONG, 'ece', 'ece_scaled')[1] > 0
    for ours, theirs, column in ((BOTH, {}, 'ece'), (SMOOTH, {}, 'accuracy'), (BOTH, MIXUP, 'accuracy')):
        _, low, high = gap(dict(EIGHTY, **ours), dict(EIGHTY, **theirs), column)
        assert low < 0 < high, (ours, theirs, column)
    assert 'nor can the three seeds of eighty epochs at 64 pixels' in prose('07')
    assert 'at 64 pixels nobody can tell' in prose('07') and 'nor can eighty epochs at 64 pixels' in prose('08')


def test_the_page_of_results_tells_time_from_pixels():
    text = (ROOT/'docs'/'text'/'results.en.md').read_text(encoding='utf-8')
    piece = ("five epochs at 64 px, at {:.0f}.", "eighty epochs at 32 px train on {:.0f} times the baseline's pixels and "
             'take {} times its time; five at 128 px train on {:.0f} times the pixels, too, and take {} times the time.')
    assert told(piece[0], [work(epochs_at(), 9469, 3925) @ prices()/60_000]) in text
    assert told(piece[1], [cost(**LONG), times(LONG, {}), cost(**LARGE), times(LARGE, {})]) in text


def test_how_many_long_runs_there_are_at_64_px_is_told():
    changes = (dict(), SMOOTH, BOTH, MIXUP, CUTMIX)
    wanted = [dict(BASELINE, epochs=80, **change) for change in changes]
    counts = [(TABLE[list(row)] == list(row.values())).all(axis=1).sum() for row in wanted]
    assert counts == [3]*5
    assert 'Does it hold at 64 pixels, where a run takes twice as long? Three seeds each.' in prose('08')
    assert 1.9 < times(EIGHTY, LONG) < 2.2
    assert 'its end, eighty epochs, has three runs of each recipe' in prose('08')
    assert 'at its end, eighty epochs, each mark is three runs' in (
        ROOT/'docs'/'text'/'results.en.md').read_text(encoding='utf-8')


def test_few_runs_are_not_from_the_one_gpu():
    assert all('a few of the longest on CPU cores' in text for text in (
        prose('08'), (ROOT/'docs'/'text'/'results.en.md').read_text(encoding='utf-8')))
    elsewhere = TABLE[~TABLE.device.str.contains('H100')]
    assert len(elsewhere) == 5 < .05*len(TABLE) and (elsewhere.epochs == 80).all() and (elsewhere['size'] == 64).all()
    assert 'Of the runs of eighty epochs at 64 px five came from CPU cores' in (
        ROOT/'docs'/'text'/'results.en.md').read_text(encoding='utf-8')


def test_what_the_notes_report_fits_together():
    tables = {chapter: re.findall(r'^\| \d \| .* (0\.\d{6}) \| 01:(\d\d) \|', prose(chapter), flags=re.M)
              for chapter in ('02', '03')}
    seconds = [sum(60 + int(second) for _, second in table) for table in tables.values()]
    for accuracy, _ in sum(tables.values(), []): assert abs(float(accuracy)*2678 - round(float(accuracy)*2678)) < .002
    assert [len(table) for table in tables.values()] == [5, 5]
    assert f'one GPU, {seconds[0]} s a run' in prose('02')
    assert f'the first took {seconds[1]} seconds, the second 519' in prose('04')
    rows = re.findall(r'(0\.\d{4}) \| (\d{3}|-) \|$', prose('08'), flags=re.M)
    assert rows == [('0.8252', str(seconds[0])), ('0.8245', str(seconds[1])), ('0.8633', '519'), ('0.8738', '-')]
    for accuracy, _ in rows: assert abs(float(accuracy)*2678 - round(float(accuracy)*2678)) < .14      # 0.00005 of them
    assert 'from {:,.0f} to {:,.0f} of 2,678'.format(.8633*2678, .8738*2678) in prose('05')


def test_the_gains_of_the_modern_recipe_are_its_steps():
    lines = re.findall(r'^\| ([^|]+) \| (\d\d\.\d{3}) \| \+?([\d.]+|-) \|', prose('08'), flags=re.M)
    gains = {name.split(',')[0]: float(gain) for name, _, gain in lines[1:]}
    assert np.allclose(np.diff([float(accuracy) for _, accuracy, _ in lines]), [*gains.values()], atol=1e-6)
    met = ('long training', 'label smoothing', 'Mixup', 'CutMix', 'FixRes mitigations', 'inference resize tuning')
    told = 'together bring {:.1f} points', 'bring {:.1f} of them'
    sums = sum(gains.values()), sum(gains[name] for name in met)
    assert len(gains) == 12 and all(piece.format(total) in prose('08') for piece, total in zip(told, sums))
    assert sorted(gains.values())[-2] < gains['long training']/3
