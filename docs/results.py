"""The page of results: every measured recipe from results/runs.csv, its seeds as a range, beside the notes' figures."""
from dataclasses import dataclass, fields

import nbformat
import pandas as pd

from sotalearn.figures import COLOURS
from sotalearn.training import Recipe, plot_runs, read_runs

# The notes' runs: Imagenette at full size, xresnet50, 224 px, validation images drawn at random from everything.
NOTES = (
    (('Baseline, 5 epochs', '基线，5 个周期'), .8252, lambda o: o.plain and not o.normalize),
    (('Normalized, 5 epochs', '归一化，5 个周期'), .8245, lambda o: o.plain and o.normalize),
    (('Progressive: 4 epochs at 128 px, then 5 at 224 px', '渐进式：先用 128 px 练 4 个周期，再用 224 px 练 5 个'), .8633, lambda o: o.stages),
    (('The same model with test time augmentation', '同一个模型，加测试时增强'), .8738, lambda o: o.stages and o.tta),
    (('Mixup, 5 epochs', 'Mixup，5 个周期'), None, lambda o: o.mixup),
    (('Label smoothing, 5 epochs', '标签平滑，5 个周期'), None, lambda o: o.smoothing))
DATASETS = {'imagenette-160': ('Imagenette-160', 'Imagenette-160'), 'imagenette-320': ('Imagenette-320', 'Imagenette-320'),
            'imagenette': ('Imagenette', 'Imagenette'), 'toynette': ('Toynette', 'Toynette')}


@dataclass(frozen=True)
class Group:
    "The runs of one recipe over its seeds."
    recipe: tuple
    runs: pd.DataFrame

    def __getattr__(self, name):
        try: return dict(self.recipe)[name]
        except KeyError: raise AttributeError(name) from None

    @property
    def plain(self):
        "Is no technique at work that the baseline lacks, and the whole training set, its labels right?"
        return not (self.stages or self.mixup or self.cutmix or self.smoothing or self.train_images or self.wrong_labels)

    @property
    def colour(self):
        used = [name for name in ('stages', 'mixup', 'cutmix', 'smoothing') if getattr(self, name)]
        name = dict(stages='resizing', cutmix='mixup').get(used[0], used[0]) if used else 'normalization'
        return COLOURS[name if used or self.normalize else 'baseline']

    def label(self, say):
        "The recipe in a few words."
        stages = ', '.join(f'{epochs} × {size} px' for epochs, size, *_ in Recipe(stages=self.stages, size=self.size).schedule()[:-1])
        words = [say(f'{self.size} px, {self.epochs} epochs', f'{self.size} px，{self.epochs} 个周期')]
        if self.stages: words.append(say(f'after {stages}', f'先 {stages}'))
        if self.arch != 'xresnet18': words.append(self.arch)
        if not self.normalize: words.append(say('not normalized', '不归一化'))
        if self.splitter == 'random': words.append(say('validated on a random fifth', '随机取五分之一做验证'))
        if self.mixup: words.append(f'Mixup {self.mixup:g}')
        if self.cutmix: words.append(f'CutMix {self.cutmix:g}')
        if self.smoothing: words.append(say(f'label smoothing {self.smoothing:g}', f'标签平滑 {self.smoothing:g}'))
        if self.wrong_labels: words.append(say(f'{self.wrong_labels:.0%} wrong labels', f'{self.wrong_labels:.0%} 错误标签'))
        if self.train_images: words.append(say(f'{self.train_images:,} training images', f'{self.train_images:,} 张训练图'))
        return say(', ', '，').join(words)


def groups(runs):
    "The runs grouped by recipe, in the order in which each was first run."
    keys = [f.name for f in fields(Recipe) if f.name not in ('seed', 'bf16', 'tta')]
    found = [Group(tuple(zip(keys, recipe)), table) for recipe, table in runs.groupby(keys, sort=False, dropna=False)]
    return [Group((*o.recipe, ('tta', int(o.runs.tta.max()))), o.runs) for o in found]


def spread(values, unit='%', scale=100, digits=1):
    "The mean of some numbers and their range, such as `69.8 % (69.3 to 70.5)`; a dash if there are none."
    values = scale*pd.to_numeric(values).dropna()
    if not len(values): return '–'
    middle = f'{values.mean():.{digits}f} {unit}'.strip()
    return middle if len(values) == 1 else f'{middle} ({values.min():.{digits}f}–{values.max():.{digits}f})'


def table(head, rows):
    "A Markdown table; a column without any figure is left out."
    kept = [i for i in range(len(head)) if any(o[i] != '–' for o in rows)]
    head, rows = [head[i] for i in kept], [[o[i] for i in kept] for o in rows]
    return ':::{div} results-table\n' + '\n'.join('| ' + ' | '.join(o) + ' |' for o in (head, ['---']*len(head), *rows)) + '\n:::'


def beside_the_notes(found, say):
    "The table of the notes' accuracies beside ours for the same step."
    rows = []
    for label, noted, fits in NOTES:
        ours = [o for o in found if fits(o) and o.splitter == 'folders' and not o.train_images and not o.wrong_labels]
        ours = max(ours, key=lambda o: (len(o.runs), o.size), default=None)
        accuracy = ours.runs.accuracy_tta if ours and noted == .8738 else ours.runs.accuracy if ours else []
        rows.append([say(*label), f'{100*noted:.2f} %' if noted else say('none given', '未给出'), spread(accuracy) if ours else say('not measured yet', '尚未测量'),
                     f'{len(ours.runs)}' if ours else '0', ours.label(say) if ours else '–'])
    return table([say('step', '步骤'), say('the notes', '笔记'), say('measured here', '本课程实测'), say('seeds', '种子数'), say('our recipe', '我们的配方')], rows)


def all_runs(found, say):
    "The table of all recipes of a dataset."
    head = [say('recipe', '配方'), say('seeds', '种子数'), say('accuracy', '准确率'), say('with test time augmentation', '加测试时增强'),
            say('negative log likelihood', '负对数似然'), say('calibration error', '校准误差'), say('processor seconds', '处理器时间（秒）')]
    rows = [[o.label(say), f'{len(o.runs)}', spread(o.runs.accuracy), spread(o.runs.accuracy_tta), spread(o.runs.nll, '', 1, 3),
             spread(o.runs.ece, '', 1, 3), spread(o.runs.cpu_seconds, '', 1, 0)] for o in found]
    return table(head, rows)


def _figure(found, name):
    labels = [(o.label(lambda en, zh: en), o.label(lambda en, zh: zh), o.colour) for o in found]
    def told(i, comma): return comma.join(f'{label[i]} {spread(o.runs.accuracy)}' for o, label in zip(found, labels))
    return plot_runs([o.runs for o in found], labels, f'Validation accuracy on {name}, a dot for each seed: {told(0, "; ")}.',
                     f'{name} 上的验证准确率，每个种子一个点：{told(1, "；")}。', size=(8, .6 + .42*len(found)))


def notebook(path):
    """The page of results as a notebook in both languages.

    Parameters
    ----------
    path : pathlib.Path
        The table of runs.
    """
    runs, cells = read_runs(path), []
    names = [o for o in DATASETS if (runs.dataset == o).any()]
    found = {name: groups(runs[runs.dataset == name]) for name in names}

    def write(make):
        for language, say in (('en', lambda en, zh: en), ('zh', lambda en, zh: zh)):
            cells.append(nbformat.v4.new_markdown_cell(make(say), metadata=dict(tags=[language])))

    sizes = {name: (int(runs[runs.dataset == name].n_train.max()), int(runs[runs.dataset == name].n_val.max())) for name in names}
    write(lambda say: say(
        '# Measured results\n\n> Every run behind a figure of the course, with its seeds, beside the figures of the notes.\n\n'
        f'{len(runs)} runs so far. Each trained an xresnet from scratch; a cell gives the mean over its seeds, then the lowest and the highest. '
        'Differences smaller than that range are luck.',
        '# 实测结果\n\n> 课程中每个数字背后的训练：各个种子的结果，以及笔记里的数字。\n\n'
        f'目前共 {len(runs)} 次训练，都从头训练一个 xresnet。每格先写各种子的均值，再写最低和最高；差别比这个范围还小，就只是运气。'))
    for name in names[:1]:
        n_train, n_val = sizes[name]
        write(lambda say: say('## Beside the notes', '## 和笔记对照') + '\n\n' + say(
            f'The notes trained an xresnet50 on Imagenette at full size on a GPU, each recipe once, with validation images from a random split. Here an xresnet18 '
            f'learns from {n_train:,} photographs of {DATASETS[name][0]} and is judged by {n_val:,}. '
            'Compare the steps from row to row, not the heights.',
            f'笔记在 GPU 上用全尺寸的 Imagenette 训练 xresnet50，每个配方只跑一次，验证集随机划分。这里从 {DATASETS[name][1]} 的 {n_train:,} '
            f'张照片中训练 xresnet18，用 {n_val:,} 张评判。要比的是行与行之间的变化，不是绝对高低。') + '\n\n' + beside_the_notes(found[name], say))
    for name in names:
        write(lambda say: f'## {say(*DATASETS[name])}\n\n' + say(
            f'{sizes[name][0]:,} training and {sizes[name][1]:,} validation images.', f'{sizes[name][0]:,} 张训练图，{sizes[name][1]:,} 张验证图。'))
        output = nbformat.v4.new_output('display_data', data={'text/html': _figure(found[name], DATASETS[name][0])._repr_html_()})
        cells.append(nbformat.v4.new_code_cell(f'#| echo: false\nplot_runs({name!r})', outputs=[output]))
        write(lambda say: all_runs(found[name], say))
    devices = sorted(runs.device.dropna().unique())
    write(lambda say: say('## Where', '## 在哪里测的') + '\n\n' + '\n'.join(f'- `{o}`' for o in devices) + '\n\n' + say(
        'Each row of the table `results/runs.csv` also has the versions, the commit and the date of its run. `sotalearn train` repeats one.',
        '表 `results/runs.csv` 的每一行还记着版本、提交和日期；用 `sotalearn train` 可以重跑。'))
    return nbformat.v4.new_notebook(cells=cells)
