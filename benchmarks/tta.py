"""What test time augmentation costs: fastai's `learn.tta`, and `predict_views` with `average_views`.

Both predict the same validation pictures with the same model, in turn, round after round, with new random views each
time; `get_preds` is the measure. Photographs (Imagenette-160) where they are on disk, else Toynette. Prints a table and
writes it as JSON:

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/tta.py [FILE.json] [--size 64] [--pictures 1000] [--rounds 5]

Processor seconds, this process's and its loading processes', stand beside those on the clock: other programs on the
machine change only the latter.
"""
import argparse, json, os, platform, statistics, sys, time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import torch   # noqa: E402
from sotalearn.data import dataset   # noqa: E402
from fastai.vision.all import accuracy, default_device, set_seed   # noqa: E402
from sotalearn.datasets import dataset_name   # noqa: E402
from sotalearn.recipes import Recipe   # noqa: E402
from sotalearn.training import make_learner   # noqa: E402
from sotalearn.tta import _batches, _model_of, average_views, has_bf16, predict_views, view_costs   # noqa: E402

N, BETA = 4, .25


def trained(size, epochs):
    "A learner without bfloat16 in its callbacks: `get_preds` and `tta` run as fastai runs them."
    recipe = Recipe(dataset=dataset_name(dataset('auto')), size=size, epochs=epochs, seed=1)
    teacher = make_learner(replace(recipe, bf16=has_bf16(default_device())))
    print(f'training {epochs} epochs on {recipe.dataset} at {size} px …', file=sys.stderr, flush=True)
    with teacher.no_bar(), teacher.no_logging(): teacher.fit_one_cycle(epochs, recipe.lr)
    learn = make_learner(replace(recipe, bf16=False))       # get_preds as fastai does it, in float32
    learn.model.load_state_dict(teacher.model.state_dict())
    return learn


def ways(learn, dl):
    "What is compared: {name: a function that returns probabilities and targets}."
    def ours(**how):
        probs, targets = predict_views(learn, N, dl, **how)
        return average_views(probs, beta=BETA), targets
    low = has_bf16(next(learn.model.parameters()).device)
    return {'get_preds': lambda: learn.get_preds(dl=dl), 'fastai tta': lambda: learn.tta(dl=dl, n=N, beta=BETA),
            'ours, float32': lambda: ours(bf16=False), **({'ours, bfloat16': lambda: ours(bf16=True)} if low else {})}


def on_the_same_views(learn, dl):
    "Percent right on one draw of views: of the learner's own model, and of what `predict_views` makes of it."
    set_seed(1)
    views, targets = zip(*((views, y[0]) for views, y in _batches(dl, N)))
    model, found = learn.model.eval(), {}
    with torch.inference_mode():
        probs = [model(view).softmax(dim=1) for of_batch in views for view in of_batch]
    answers = {'as it is, float32': torch.cat([torch.stack(probs[i:i + 1 + N]) for i in range(0, len(probs), 1 + N)], 1)}
    for name, bf16 in (('prepared, float32', False), ('prepared, bfloat16', True)):
        probabilities = _model_of(learn, bf16)
        answers[name] = torch.cat([probabilities(of_batch) for of_batch in views], dim=1)
    targets = torch.cat(targets).cpu()
    for name, probs in answers.items():
        found[name] = round(100*accuracy(average_views(probs.cpu(), beta=BETA), targets).item(), 2)
    return found


def timed(act):
    "What `act` returns, its seconds on the clock and of processor time, children included."
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    found = act()
    return found, time.perf_counter() - start, sum(os.times()[:4]) - cpu


def measure(learn, dl, rounds):
    rows = {name: dict(seconds=[], cpu_seconds=[], accuracy=[]) for name in ways(learn, dl)}
    for i in range(-1, rounds):                        # the first round warms up
        for name, act in ways(learn, dl).items():
            set_seed(1000 + i)
            (probs, targets), seconds, cpu = timed(act)
            if i < 0: continue
            print(f'round {i + 1} of {rounds}: {name} {cpu:.1f} s', file=sys.stderr, flush=True)
            rows[name]['seconds'].append(seconds)
            rows[name]['cpu_seconds'].append(cpu)
            rows[name]['accuracy'].append(100*accuracy(probs, targets).item())
    return rows


def summary(rows):
    "A row for each way: medians, ratios to get_preds of the same round, and points of difference to fastai's tta."
    middle = statistics.median
    def ratio(row, name): return middle(a/b for a, b in zip(row[name], rows['get_preds'][name]))
    table = []
    for way, row in rows.items():
        apart = [a - b for a, b in zip(row['accuracy'], rows['fastai tta']['accuracy'])]
        spread = statistics.stdev(apart) if len(apart) > 1 else float('nan')
        numbers = dict(seconds=middle(row['seconds']), ratio=ratio(row, 'seconds'),
                       cpu_seconds=middle(row['cpu_seconds']), cpu_ratio=ratio(row, 'cpu_seconds'),
                       accuracy=statistics.mean(row['accuracy']), to_fastais_tta=statistics.mean(apart),
                       spread_of_draws=spread, standard_error=spread/len(apart)**.5)
        table.append(dict(way=way, **{name: round(number, 2) for name, number in numbers.items()}))
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('path', nargs='?', default=ROOT/'benchmarks'/'tta.json')
    for name, default in (('size', 64), ('epochs', 2), ('pictures', 1000), ('rounds', 5)):
        parser.add_argument(f'--{name}', type=int, default=default)
    chosen = parser.parse_args()
    learn = trained(chosen.size, chosen.epochs)
    items = learn.dls.valid_ds.items
    dl = learn.dls.test_dl(items[::max(1, len(items)//chosen.pictures)][:chosen.pictures], with_labels=True)
    with learn.no_bar():
        rows = measure(learn, dl, chosen.rounds)
        costs = view_costs(learn, n=N).round(3)
        same_views = on_the_same_views(learn, dl)
    table = summary(rows)
    names = list(table[0])
    print(' | '.join(names))
    for row in table: print(' | '.join(str(row[name]) for name in names))
    print('\npercent right on the same views: ' + ', '.join(f'{name} {right}' for name, right in same_views.items()))
    print(f'\nmilliseconds for a picture and view:\n{costs.to_string()}')
    print(f'{learn.recipe.dataset}, {len(dl.dataset)} pictures at {chosen.size} px, {chosen.rounds} rounds; '
          f'load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
    result = dict(dataset=learn.recipe.dataset, pictures=len(dl.dataset), size=chosen.size, n=N, beta=BETA,
                  cores=os.cpu_count(), load=[round(o, 1) for o in os.getloadavg()], python=platform.python_version(),
                  rows=table, same_views=same_views, costs=costs.ms.to_dict(), raw=rows)
    path = Path(chosen.path)
    path.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(f'written to {path}')


if __name__ == '__main__': main()
