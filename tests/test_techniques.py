"""A technique is one registry entry: the command, the comparison, its figure and the results page find it there."""
import importlib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sotalearn.datasets import SPLITS
from sotalearn.demos import comparison, plots
from sotalearn.experiments import compare, readable
from sotalearn.recipes import TECHNIQUES, Technique, append_run, course_recipes
from sotalearn.school.cli import main

COLOUR = '#123456'


@pytest.fixture
def invented(monkeypatch):
    "An invented technique: a learning rate of 0.02."
    monkeypatch.setitem(TECHNIQUES, 'invented', Technique(('an invention', '新发明'), dict(lr=.02), COLOUR))


@pytest.fixture
def table(invented, tmp_path):
    "Three runs of the baseline and three of the invention."
    offered = course_recipes(dataset='toynette', size=16)
    for name, accuracy in (('baseline', .5), ('invented', .6)):
        for seed in (1, 2, 3):
            measured = dict(accuracy=accuracy + seed/100, seconds=2., cpu_seconds=2., n_train=20, n_val=10,
                            device='CPU', commit='abc', date='2026-01-01', split=SPLITS['toynette'])
            append_run(asdict(replace(offered[name], seed=seed)) | measured, tmp_path/'runs.csv')
    return tmp_path/'runs.csv'


@pytest.fixture
def results(monkeypatch):
    "The module that makes the results page."
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent/'docs'))
    return importlib.import_module('results')


@pytest.fixture
def drawn(monkeypatch):
    "The figures that are made in comparison and plots, as {language: (matplotlib's figure, alt text)}."
    figures = []

    class Figures(comparison.StillFigure):
        def __init__(self, draw, en, zh, **how):
            super().__init__(draw, en, zh, **how)
            figures.append({})
            for language, alt, i in (('en', en, 0), ('zh', zh, 1)):
                fig = Figure()
                draw(fig, lambda *texts: texts[i])
                figures[-1][language] = fig, alt
    for module in (comparison, plots): monkeypatch.setattr(module, 'StillFigure', Figures)
    return figures


def colours_and_labels(fig):
    "The colours of all lines, and the names at the left."
    ax, = fig.axes
    return {line.get_color() for line in ax.lines}, [label.get_text() for label in ax.get_yticklabels()]


def test_the_command_offers_it(invented, capsys):
    with pytest.raises(SystemExit): main(['compare', '--help'])
    line, = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ['invented']]
    assert 'an invention' in line


def test_it_is_compared_and_drawn_in_its_colour(table, drawn):
    found = compare(course_recipes(dataset='toynette', size=16), results=table, run_missing=False, show_progress=False)
    assert found.seeds['invented'] == 3 and found.difference['invented'] == pytest.approx(.1)
    assert readable(found).changes['invented'] == 'lr=0.02'
    comparison.plot_comparison(found)
    for language, label in (('en', 'an invention'), ('zh', '新发明')):
        fig, alt = drawn[0][language]
        colours, labels = colours_and_labels(fig)
        assert labels[-1] == label and COLOUR in colours and f'{label} 62.0' in alt


def test_the_results_page_shows_it(table, drawn, results):
    page = results.notebook(table)
    for language, label in (('en', 'an invention 0.02'), ('zh', '新发明 0.02')):
        text = '\n'.join(cell.source for cell in page.cells if language in cell.metadata.get('tags', []))
        fig, alt = drawn[0][language]
        colours, labels = colours_and_labels(fig)
        assert label in text and label in labels[-1] and label in alt and COLOUR in colours
