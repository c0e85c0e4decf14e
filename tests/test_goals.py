"""Every goal of every chapter is checked: by an exercise at its end, a question of chapter 09, or a guess."""
import re
from pathlib import Path

import nbformat
import pytest

from sotalearn.school.exercises import EXERCISES
from sotalearn.school.guesses import GUESSES
from sotalearn.school.questionnaire import QUESTIONS

NBS = Path(__file__).parent.parent/'nbs'
# chapter → for each of its goals, in their order, what checks it: `exercise`, q for a question, ? for a guess
CHECKED = {
    '01': ['q1 q14 ?small_tricks', 'presize_order ?presize_corners', 'fix_data_block ?fourth_slip'],
    '02': ['untrained_loss ?untrained_loss', 'seed_error ?seed_range', 'fix_data_block ?random_fifth', '?cost_of_side'],
    '03': ['channel_stats ?batch_scatter', 'wrong_std q3 ?wrong_bytes ?batchnorm_scale', 'keep_statistics'],
    '04': ['schedule epochs_in_all ?share_of_time', 'any_size ?weights_that_change', 'q4 q5 ?small_first',
           '?trained_on ?redrawn'],
    '05': ['when_not ?cut_objects', 'average_views q6 ?beta', 'choose_n q7 ?five_views ?times_get_preds',
           '?single_pass', 'when_not'],
    '06': ['blend blended_target q8 ?blend_target', 'mixed_floor ?mixed_loss', 'q10 ?who_leads ?few_pictures_cost',
           'blend ?blend_of_two'],
    '07': ['q11 ?logit_growth', 'smooth_labels optimal_logit q13 ?smoothed_true', 'own_ece ?ece_by_hand',
           '?answers_changed ?still_better', 'repair_labels q12 ?few_smoothing ?average_target'],
    '08': ['verdict ?verdicts_alike', 'verdict ?first_128', 'paired_difference enough_seeds ?lucky_seed',
           '?two_more ?small_alone', '?believable']}
CHAPTERS = sorted(NBS.glob('0[1-8]*.ipynb'))


def goals(nb, language='en'):
    "The goals that a chapter lists in its first cells."
    opening = next(cell.source for cell in nb.cells if language in cell.metadata.get('tags', []))
    return re.findall(r'^- (.+)$', opening, flags=re.M)


def shown(nb): return {name for cell in nb.cells for name in re.findall(r"^exercise\('(\w+)'\)$", cell.source, flags=re.M)}


def asked(nb): return {name for cell in nb.cells for name in re.findall(r'^<!-- guess: (\w+)', cell.source, flags=re.M)}


@pytest.mark.parametrize('path', CHAPTERS, ids=lambda path: path.stem)
def test_every_goal_is_checked(path):
    nb = nbformat.read(path, as_version=4)
    checks = CHECKED[path.name[:2]]
    assert len(goals(nb)) == len(goals(nb, 'zh')) == len(checks) > 2
    chapters = [nbformat.read(other, as_version=4) for other in CHAPTERS]
    exercises = set.union(*map(shown, chapters))
    for name in ' '.join(checks).split():
        if name.startswith('?'): assert name[1:] in GUESSES.keys() & asked(nb), name
        elif re.fullmatch(r'q\d+', name): assert name in QUESTIONS or int(name[1:]) <= len(QUESTIONS)
        else: assert name in EXERCISES.keys() & exercises, name


def test_every_exercise_is_shown_in_a_chapter():
    assert set.union(*(shown(nbformat.read(path, as_version=4)) for path in CHAPTERS)) == set(EXERCISES)
