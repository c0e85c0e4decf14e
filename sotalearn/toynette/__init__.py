"The drawn pictures: ten classes of picture-book photographs, each from a seed, and the data set made of them."
from importlib import import_module

from .names import CHINESE_NAMES, CLASSES, SHORT_SIDE, SPLITS

# Fetched when first asked for: the names above need neither NumPy nor Pillow.
_HOMES = dict(scene='.scenes', Difficulty='.scenes', make_toynette='.make')
_MOVED = dict.fromkeys(('EDITION', 'data_folder', 'dataset_folder'), '..datasets')      # until every room reads them there
__all__ = ['CHINESE_NAMES', 'CLASSES', 'SHORT_SIDE', 'SPLITS', *_HOMES]


def __getattr__(name):
    homes = _HOMES | _MOVED
    if name not in homes: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(homes[name], __name__), name)
