"""The page of results: every measured recipe from results/runs.csv, its seeds as a range, beside the notes' figures."""
import json, re
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path

import nbformat
import pandas as pd

import sotalearn

from sotalearn.datasets import OFFICIAL, SPLITS
from sotalearn.demos.comparison import costs, plot_costs
from sotalearn.demos.plots import plot_runs
from sotalearn.demos.schedules import TRANSFERS
from sotalearn.demos.views import way_name
from sotalearn.recipes import (Recipe, changed_fields, colour_of, measured_table, pixels_seen, read_runs, recipe_of,
                               techniques_in)
from sotalearn.resizing import measured_cost, schedule_seconds
from sotalearn.school.form import in_both
from sotalearn.school.guesses import no_scripts
from sotalearn.school.place import COMPARED, DEFAULTS, JOINTS, REASONS, groups_of_seeds
from sotalearn.school.texts import NOTEBOOKS, read_sentences
from sotalearn.settings import LANGUAGES, say

TEXT = Path(__file__).parent/'text'
# The notes' runs: Imagenette at full size, xresnet50, 224 px, validation images drawn at random from everything.
# Each with its accuracy, where they give one, and what the same step changes in our baseline.
NOTES = (
    (('Not normalized, 5 epochs', '未归一化，5 个周期'), .8252, dict(normalize=False)),
    (('Normalized, 5 epochs', '归一化，5 个周期'), .8245, {}),
    (('Progressive: 4 epochs at 128 px, then 1 + 5 at 224 px', '渐进式：先用 128 像素练 4 个周期，再用 224 像素练 1 + 5 个'),
     .8633, dict(stages='4x32', epochs=5)),
    (('The same model with test time augmentation', '同一个模型，加测试时增强'), .8738,
     dict(stages='4x32', epochs=5, tta=4)),
    (('Mixup, 5 epochs', 'Mixup，5 个周期'), None, dict(mixup=.4)),
    (('Label smoothing, 5 epochs', '标签平滑，5 个周期'), None, dict(smoothing=.1)))
NOTHING = '–'
TITLES = dict(official=('Imagenette-160',)*2, toynette=('Toynette',)*2, earlier=('Earlier', '早先'))
KEYS = [field.name for field in fields(Recipe) if field.name not in ('seed', 'tta')]
IN_WORDS = {'dataset', 'split', 'arch', 'size', 'epochs', 'stages', 'bf16', 'splitter', 'wrong_labels', 'train_images'}
SPLITTERS = dict(random=('validated on a random fifth', '随机取五分之一做验证'),
                 redrawn=('validated on a random fifth, drawn anew at each size', '每换一个尺寸都重新随机取五分之一做验证'))


@dataclass(frozen=True)
class Group:
    "The runs of one recipe over its seeds."
    recipe: Recipe
    runs: pd.DataFrame
    prefix: str # of its anchor

    @property
    def colour(self): return colour_of(changed_fields(self.recipe, replace(Recipe(), bf16=self.recipe.bf16)))

    @property
    def anchor(self): return self.prefix + re.sub('[^a-z0-9]+', '-', self.label(partial(say, language='en')).lower())

    @property
    def pixels(self): return pixels_seen(self.recipe)*self.runs.n_train.mean()

    @property
    def time(self):
        "Seconds of a processor for training and validating, by the measured epochs of an xresnet18."
        return schedule_seconds(self.recipe.schedule(), a_picture(), round(self.runs.n_train.mean()), round(self.runs.n_val.mean()))

    @property
    def is_earlier(self): return self.recipe.dataset == 'toynette' and not self.recipe.split

    def part(self, say):
        "Which part of the training set it learns from, and how right that is, in words."
        recipe, words = self.recipe, []
        if recipe.wrong_labels:
            words.append(say(f'{recipe.wrong_labels:.0%} wrong labels', f'{recipe.wrong_labels:.0%} 错误标签'))
        if recipe.train_images:
            words.append(say(f'{recipe.train_images:,} training images', f'{recipe.train_images:,} 张训练图'))
        return words

    def section(self, say):
        "What recipes must share to stand in one table."
        words = [say(f'{self.recipe.size} px', f'{self.recipe.size} 像素')]
        if self.recipe.arch != Recipe.arch: words.append(self.recipe.arch)
        if self.recipe.splitter in SPLITTERS: words.append(say('other validation images', '别的验证图'))
        if self.is_earlier: words.append(say('earlier runs', '早先的训练'))
        return say(', ', '，').join(words + self.part(say))

    def label(self, say):
        "The recipe in a few words, for every recipe other ones."
        recipe, smaller = self.recipe, self.recipe.schedule()[:-1]
        words = [say(f'{recipe.size} px, {recipe.epochs} epochs', f'{recipe.size} 像素，{recipe.epochs} 个周期')]
        if smaller:
            stages = ', '.join(f'{stage.epochs} × {stage.size} {say("px", "像素")}' for stage in smaller)
            words.append(say(f'after {stages}', f'先 {stages}'))
        if recipe.arch != Recipe.arch: words.append(recipe.arch)
        changed = [field for field in changed_fields(recipe, Recipe()) if field not in IN_WORDS]
        named = techniques_in(changed)
        for field in changed:
            value, name = getattr(recipe, field), say(*named[field].label) if field in named else field
            words.append(name if isinstance(value, bool) else f'{name} {value:g}')
        if recipe.bf16: words.append('bfloat16')
        if recipe.splitter in SPLITTERS: words.append(say(*SPLITTERS[recipe.splitter]))
        if self.is_earlier: words.append(say('earlier runs', '早先的训练'))
        return say(', ', '，').join(words + self.part(say))


def groups(runs, prefix=''):
    "The runs grouped by recipe, in the order in which each was first run."
    return [Group(replace(recipe_of(same.iloc[0]), tta=0, seed=Recipe.seed), same, prefix)
            for _, same in runs.groupby(KEYS, sort=False, dropna=False)]


def mean_and_range(values, unit='%', scale=100, digits=1):
    "The mean of some numbers and their range, such as `69.8 % (69.3–70.5)`; a dash if there are none."
    values = scale*pd.to_numeric(values).dropna()
    if not len(values): return NOTHING
    mean = f'{values.mean():.{digits}f} {unit}'.strip()
    return mean if len(values) == 1 else f'{mean} ({values.min():.{digits}f}–{values.max():.{digits}f})'


@cache
def a_picture(): return measured_cost()


def baseline(n_train, n_val):
    "What costs 1."
    return Group(Recipe(), pd.DataFrame([dict(n_train=n_train, n_val=n_val)]), '')


def cost(group, unit):
    "What a recipe costs, in pixels and in the processor's time, where `unit` is the baseline."
    pixels = f'{group.pixels/unit.pixels:.2f}'
    return pixels if group.recipe.arch != unit.recipe.arch else f'{pixels} ({group.time/unit.time:.2f})'


def table(head, rows):
    "A Markdown table; a column without any figure is left out."
    kept = [i for i in range(len(head)) if any(row[i] != NOTHING for row in rows)]
    lines = [head, ['---']*len(head), *rows]
    lines = ['| ' + ' | '.join(line[i] for i in kept) + ' |' for line in lines]
    return '\n'.join([':::{div} results-table', *lines, ':::'])


def all_runs(found, unit, say):
    "The table of some recipes; `unit` is the baseline."
    head = [say('recipe', '配方'), say('seeds', '种子数'), say('cost (time)', '花费（时间）'),
            say('accuracy', '准确率'), say('with test time augmentation', '加测试时增强'),
            say('negative log likelihood', '负对数似然'), say('calibration error', '校准误差'),
            say('negative log likelihood after temperature scaling', '温度缩放后的负对数似然'),
            say('calibration error after it', '温度缩放后的校准误差'), say('processor seconds', 'CPU 时间（秒）')]
    rows = []
    for group in found:
        runs, small = group.runs, partial(mean_and_range, unit='', scale=1, digits=3)
        is_timed = runs.device.nunique() == 1 and runs.device.str.startswith('CPU').all()  # a GPU's were many at once
        rows.append([f'<span class="anchor" id="{group.anchor}"></span>{group.label(say)}', f'{len(runs)}',
                     cost(group, unit), mean_and_range(runs.accuracy), mean_and_range(runs.accuracy_tta),
                     small(runs.nll), small(runs.ece), small(runs.nll_scaled), small(runs.ece_scaled),
                     mean_and_range(runs.cpu_seconds, '', 1, 0) if is_timed else NOTHING])
    return table(head, rows)


def ways(name, named, say):
    "The table of a file beside runs.csv, a row a way; `named(way)` gives what it is called in both languages."
    runs = measured_table(f'{name}.csv').dropna(subset='split').reindex(columns=['way', 'passes', 'accuracy', 'nll'])
    head = [say('way', '做法'), say('seeds', '种子数'), say('passes', '遍数'), say('accuracy', '准确率'),
            say('negative log likelihood', '负对数似然')]
    rows = [[say(*named(way)), f'{len(same)}', mean_and_range(same.passes.head(1), '', 1, 2), mean_and_range(same.accuracy),
             mean_and_range(same.nll, '', 1, 3)] for way, same in runs.groupby('way', sort=False)]
    return table(head, rows)


def beside_the_notes(found, unit, say):
    "The table of the notes' ladder beside the same steps of ours."
    rows = []
    for label, noted, changes in NOTES:
        percent = f'{100*noted:.2f} %' if noted else say('none given', '未给出')
        wanted = replace(Recipe(bf16=False), **changes | dict(tta=0))
        ours = next((group for group in found if replace(group.recipe, dataset='auto', split='') == wanted), None)
        measured = [say('not measured yet', '尚未测量'), '0', NOTHING]
        if ours:
            accuracy = mean_and_range(ours.runs.accuracy_tta if 'tta' in changes else ours.runs.accuracy)
            measured = [accuracy, f'{len(ours.runs)}', cost(ours, unit)]
        rows.append([say(*label), percent, *measured])
    return table([say('step', '步骤'), say('the notes', '笔记'), say('measured here', '本课程实测'), say('seeds', '种子数'),
                  say('our cost (time)', '我们的花费（时间）')], rows)


def figure(found, name):
    "A cell with the accuracies of some recipes, a dot for each seed."
    labels = [(group.label(partial(say, language='en')), group.label(partial(say, language='zh')), group.colour)
              for group in found]
    return shown(plot_runs([group.runs for group in found], labels,
                           f'Validation accuracy on {name}, a dot for each seed, means',
                           f'{name} 上的验证准确率，每个种子一个点，均值', size=(8, .8 + .42*len(found))))


def shown(still):
    "A cell that shows a figure."
    data, told = still._repr_mimebundle_()
    output = nbformat.v4.new_output('display_data', data=data, metadata=told)
    return nbformat.v4.new_code_cell('#| echo: false\nfigure', outputs=[output])     # a cell without code is left out


def pair(text):
    "The cells with `text(say)` in each language."
    return [nbformat.v4.new_markdown_cell(text(partial(say, language=language)), metadata=dict(tags=[language]))
            for language in LANGUAGES]


def prose(name, **values):
    "The cells with a passage of text/results.en.md and of the Chinese, with `values` in their places."
    def passage(language):
        text = (TEXT/f'results.{language}.md').read_text(encoding='utf-8')
        return text.split(f'<!-- {name} -->\n')[1].split('<!-- ')[0].strip().format(**values)
    return pair(lambda say: say(*map(passage, LANGUAGES)))


def whole(runs):
    "The cells about the runs on all photographs of the official split: what pays, and the notes' steps."
    runs = runs[(runs.arch == Recipe.arch) & (runs.splitter == 'folders') & (runs.train_images == 0)]
    if not len(runs): return []
    still = plot_costs(costs(runs[runs.wrong_labels == 0]), 'What each recipe costs.', '各配方的花费。')
    unit = baseline(runs.n_train.max(), runs.n_val.max())
    return [*prose('costs'), shown(still), *prose('place'), paste_box(), *prose('notes'), *pair(partial(beside_the_notes, groups(runs), unit))]


def sections(found, unit, title, draws):
    "The cells with the tables of recipes, a heading for those that may stand beside each other."
    alike, cells = {}, []
    for group in found: alike.setdefault(group.section(partial(say, language='en')), []).append(group)
    for those in alike.values():
        those.sort(key=lambda group: group.pixels)
        cells += pair(lambda say: say('### {}: {}', '### {}：{}').format(say(*title), those[0].section(say)))
        if draws: cells.append(figure(those, title[0]))
        cells += pair(partial(all_runs, those, unit))
    return cells


def paste_box():
    "A cell in which a reader places a run of his own."
    told = dict(groups=groups_of_seeds(), columns=COMPARED, defaults=DEFAULTS, reasons=REASONS)
    sentences = read_sentences(NOTEBOOKS/'sentences.ipynb')

    def box(language):
        words = {name: say(*text, language).replace('`', '') for name, text in sentences.items() if name[:6] == 'place_'}
        joints = {name: say(*both, language) for name, both in JOINTS.items()}
        known = json.dumps(dict(told, words=words, joints=joints), ensure_ascii=False).replace('</', '<\\/')
        return (f'<div lang="{language}" class="sotalearn-guess sotalearn-place">{no_scripts(language)}<form hidden>'
                f'<label>{words["place_paste"]}<textarea name="row" rows="3"></textarea></label><div class="guess-row"><button type="submit">'
                f'{words["place_button"]}</button></div><div class="guess-said" role="status"></div>'
                f'<script type="application/json">{known}</script></form></div>')

    school = Path(sotalearn.__file__).parent/'school'/'guess.js'
    script = ''.join(path.read_text(encoding='utf-8') for path in (school, TEXT.parent/'place.js'))
    shown_in_both = f'{in_both(box)}\n<script type="module">{script}dressGuesses();</script>'
    output = nbformat.v4.new_output('display_data', data={'text/html': shown_in_both})
    return nbformat.v4.new_code_cell('#| echo: false\nplace', outputs=[output])


def notebook(path):
    "The page of results as a notebook in both languages, from the table of runs at `path`."
    runs = read_runs(path)
    part = pd.Series('earlier', runs.index).mask(runs.dataset == 'toynette', 'toynette')
    part = part.mask(runs.split == OFFICIAL, 'official')
    cells = [*prose('opening', n=len(runs)), *whole(runs[part == 'official'])]
    for name, title in TITLES.items():
        rows = runs[part == name]
        if not len(rows): continue
        sizes = {column: int(rows[column][rows.splitter == 'folders'].max()) for column in ('n_train', 'n_val')}
        found = groups(rows, '' if name == 'official' else f'{name}-')
        cells += [*prose(name, official=OFFICIAL, **sizes),
                  *sections(found, baseline(**sizes), title, draws=name != 'earlier')]
        if name == 'official':
            cells += [*prose('views'), *pair(partial(ways, 'views', way_name)),
                      *prose('transfer'), *pair(partial(ways, 'transfer', lambda way: TRANSFERS[way][:2]))]
    devices = '\n'.join(f'- `{device}`' for device in sorted(runs.device.dropna().unique()))
    return nbformat.v4.new_notebook(cells=[*cells, *prose('closing', devices=devices)])
