"""The page of results: every measured recipe from results/runs.csv, its seeds as a range, beside the notes' figures."""
from dataclasses import dataclass, fields, replace
from functools import partial

import nbformat
import pandas as pd

from sotalearn.datasets import DATASETS
from sotalearn.demos.plots import plot_runs
from sotalearn.recipes import TECHNIQUES, Recipe, changed_fields, colour_of, read_runs, recipe_of
from sotalearn.settings import LANGUAGES, say

# The notes' runs: Imagenette at full size, xresnet50, 224 px, validation images drawn at random from everything.
# Each with its accuracy, where they give one, and the technique that does the same here.
NOTES = (
    (('Baseline, 5 epochs', '基线，5 个周期'), .8252, 'raw'),
    (('Normalized, 5 epochs', '归一化，5 个周期'), .8245, 'baseline'),
    (('Progressive: 4 epochs at 128 px, then 5 at 224 px', '渐进式：先用 128 px 练 4 个周期，再用 224 px 练 5 个'),
     .8633, 'progressive'),
    (('The same model with test time augmentation', '同一个模型，加测试时增强'), .8738, 'progressive-tta'),
    (('Mixup, 5 epochs', 'Mixup，5 个周期'), None, 'mixup'),
    (('Label smoothing, 5 epochs', '标签平滑，5 个周期'), None, 'smoothing'))
NOTHING = '–'


@dataclass(frozen=True)
class Group:
    "The runs of one recipe over its seeds."
    recipe: Recipe # its `tta` is the most views that a run was judged with
    runs: pd.DataFrame

    @property
    def added(self):
        "The fields in which a technique is at work, each with that technique; how long a recipe trains is none."
        base, known = Recipe(), {}
        for technique in TECHNIQUES.values():
            for field in technique.changes(base): known.setdefault(field, technique)
        return {field: known[field] for field in changed_fields(self.recipe, base)
                if field in known and field not in ('epochs', 'tta')}

    @property
    def colour(self): return colour_of(list(self.added))

    def fits(self, name):
        "Is it this technique, by itself and on the whole training set with its labels right?"
        recipe, changes = self.recipe, TECHNIQUES[name].changes(Recipe()).keys()
        is_whole = recipe.splitter == 'folders' and not recipe.train_images and not recipe.wrong_labels
        is_judged = recipe.tta > 0 or 'tta' not in changes
        return is_whole and is_judged and self.added.keys() == changes - {'epochs', 'tta'}

    def label(self, say):
        "The recipe in a few words."
        recipe, smaller = self.recipe, self.recipe.schedule()[:-1]
        words = [say(f'{recipe.size} px, {recipe.epochs} epochs', f'{recipe.size} px，{recipe.epochs} 个周期')]
        if smaller:
            stages = ', '.join(f'{stage.epochs} × {stage.size} px' for stage in smaller)
            words.append(say(f'after {stages}', f'先 {stages}'))
        if recipe.arch != Recipe.arch: words.append(recipe.arch)
        for field, technique in self.added.items():
            if field == 'stages': continue
            value = getattr(recipe, field)
            words.append(say(*technique.label) + ('' if isinstance(value, bool) else f' {value:g}'))
        if recipe.splitter == 'random': words.append(say('validated on a random fifth', '随机取五分之一做验证'))
        if recipe.wrong_labels:
            words.append(say(f'{recipe.wrong_labels:.0%} wrong labels', f'{recipe.wrong_labels:.0%} 错误标签'))
        if recipe.train_images:
            words.append(say(f'{recipe.train_images:,} training images', f'{recipe.train_images:,} 张训练图'))
        return say(', ', '，').join(words)


def groups(runs):
    "The runs grouped by recipe, in the order in which each was first run."
    keys = [field.name for field in fields(Recipe) if field.name not in ('seed', 'bf16', 'tta')]
    return [Group(replace(recipe_of(same.iloc[0]), tta=int(same.tta.max()), bf16=False), same)
            for _, same in runs.groupby(keys, sort=False, dropna=False)]


def mean_and_range(values, unit='%', scale=100, digits=1):
    "The mean of some numbers and their range, such as `69.8 % (69.3–70.5)`; a dash if there are none."
    values = scale*pd.to_numeric(values).dropna()
    if not len(values): return NOTHING
    mean = f'{values.mean():.{digits}f} {unit}'.strip()
    return mean if len(values) == 1 else f'{mean} ({values.min():.{digits}f}–{values.max():.{digits}f})'


def table(head, rows):
    "A Markdown table; a column without any figure is left out."
    kept = [i for i in range(len(head)) if any(row[i] != NOTHING for row in rows)]
    lines = [head, ['---']*len(head), *rows]
    lines = ['| ' + ' | '.join(line[i] for i in kept) + ' |' for line in lines]
    return '\n'.join([':::{div} results-table', *lines, ':::'])


def beside_the_notes(found, say):
    "The table of the notes' accuracies beside ours for the same step."
    rows = []
    for label, noted, name in NOTES:
        percent = f'{100*noted:.2f} %' if noted else say('none given', '未给出')
        ours = max((group for group in found if group.fits(name)), default=None,
                   key=lambda group: (len(group.runs), group.recipe.size))
        if ours is None:
            rows.append([say(*label), percent, say('not measured yet', '尚未测量'), '0', NOTHING])
            continue
        with_tta = 'tta' in TECHNIQUES[name].changes(Recipe())
        accuracy = mean_and_range(ours.runs.accuracy_tta if with_tta else ours.runs.accuracy)
        rows.append([say(*label), percent, accuracy, f'{len(ours.runs)}', ours.label(say)])
    return table([say('step', '步骤'), say('the notes', '笔记'), say('measured here', '本课程实测'), say('seeds', '种子数'),
                  say('our recipe', '我们的配方')], rows)


def all_runs(found, say):
    "The table of all recipes of a dataset."
    head = [say('recipe', '配方'), say('seeds', '种子数'), say('accuracy', '准确率'),
            say('with test time augmentation', '加测试时增强'), say('negative log likelihood', '负对数似然'),
            say('calibration error', '校准误差'), say('processor seconds', '处理器时间（秒）')]
    rows = [[group.label(say), f'{len(group.runs)}', mean_and_range(group.runs.accuracy),
             mean_and_range(group.runs.accuracy_tta), mean_and_range(group.runs.nll, '', 1, 3),
             mean_and_range(group.runs.ece, '', 1, 3), mean_and_range(group.runs.cpu_seconds, '', 1, 0)]
            for group in found]
    return table(head, rows)


def figure(found, name):
    "A cell with the accuracies of all recipes of a dataset, a dot for each seed."
    means = [mean_and_range(group.runs.accuracy) for group in found]
    labels = [(group.label(partial(say, language='en')), group.label(partial(say, language='zh')), group.colour)
              for group in found]
    told_en = '; '.join(f'{en} {mean}' for (en, *_), mean in zip(labels, means))
    told_zh = '；'.join(f'{zh} {mean}' for (_, zh, _), mean in zip(labels, means))
    shown = plot_runs([group.runs for group in found], labels,
                      f'Validation accuracy on {name.capitalize()}, a dot for each seed: {told_en}.',
                      f'{name.capitalize()} 上的验证准确率，每个种子一个点：{told_zh}。', size=(8, .6 + .42*len(found)))
    output = nbformat.v4.new_output('display_data', data={'text/html': shown._repr_html_()})
    return nbformat.v4.new_code_cell(f'#| echo: false\nplot_runs({name!r})', outputs=[output])


def pair(text):
    "The cells with `text(say)` in each language."
    return [nbformat.v4.new_markdown_cell(text(partial(say, language=language)), metadata=dict(tags=[language]))
            for language in LANGUAGES]


def opening(n_runs, say):
    "The title, and how to read the page."
    return say(
        '# Measured results\n\n'
        '> Every run behind a figure of the course, with its seeds, beside the figures of the notes.\n\n'
        f'{n_runs} runs so far. Each trained an xresnet from scratch; a cell gives the mean over its seeds, then the '
        'lowest and the highest. Differences smaller than that range are luck.',
        '# 实测结果\n\n> 课程中每个数字背后的训练：各个种子的结果，以及笔记里的数字。\n\n'
        f'目前共 {n_runs} 次训练，都从头训练一个 xresnet。每格先写各种子的均值，再写最低和最高；'
        '差别比这个范围还小，就只是运气。')


def notes_section(name, n_train, n_val, found, say):
    "The notes' ladder beside the same steps on the dataset `name`."
    told = say(
        'The notes trained an xresnet50 on Imagenette at full size on a GPU, each recipe once, with validation images '
        f'from a random split. Here an xresnet18 learns from {n_train:,} photographs of {name.capitalize()} and is '
        f'judged by {n_val:,}. Compare the steps from row to row, not the heights.',
        '笔记在 GPU 上用全尺寸的 Imagenette 训练 xresnet50，每个配方只跑一次，验证集随机划分。'
        f'这里从 {name.capitalize()} 的 {n_train:,} 张照片中训练 xresnet18，用 {n_val:,} 张评判。'
        '要比的是行与行之间的变化，不是绝对高低。')
    return '\n\n'.join([say('## Beside the notes', '## 和笔记对照'), told, beside_the_notes(found, say)])


def heading(name, n_train, n_val, say):
    "The title of a dataset's part."
    return f'## {name.capitalize()}\n\n' + say(f'{n_train:,} training and {n_val:,} validation images.',
                                               f'{n_train:,} 张训练图，{n_val:,} 张验证图。')


def closing(devices, say):
    "On which computers the runs were measured."
    return '\n\n'.join([say('## Where', '## 在哪里测的'), '\n'.join(f'- `{device}`' for device in devices), say(
        'Each row of the table `results/runs.csv` also has the versions, the commit and the date of its run. '
        '`sotalearn train` repeats one.',
        '表 `results/runs.csv` 的每一行还记着版本、提交和日期；用 `sotalearn train` 可以重跑。')])


def notebook(path):
    "The page of results as a notebook in both languages, from the table of runs at `path`."
    runs = read_runs(path)
    photographs_first = sorted(DATASETS, key=lambda name: name == 'toynette')
    parts = {name: runs[runs.dataset == name] for name in photographs_first if (runs.dataset == name).any()}
    cells = pair(partial(opening, len(runs)))
    for i, (name, part) in enumerate(parts.items()):
        found, sizes = groups(part), (int(part.n_train.max()), int(part.n_val.max()))
        if i == 0: cells += pair(partial(notes_section, name, *sizes, found))
        cells += [*pair(partial(heading, name, *sizes)), figure(found, name), *pair(partial(all_runs, found))]
    cells += pair(partial(closing, sorted(runs.device.dropna().unique())))
    return nbformat.v4.new_notebook(cells=cells)
