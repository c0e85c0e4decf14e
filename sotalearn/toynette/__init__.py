"The drawn pictures: ten classes of picture-book photographs, each from a seed, and the data set made of them."
from importlib import import_module

from .names import CHINESE_NAMES, CLASSES, SHORT_SIDE, SPLITS

# Fetched when first asked for: the names above need neither NumPy nor Pillow.
_HOMES = dict(scene='.scenes', Difficulty='.scenes', make_toynette='.make')
__all__ = ['CHINESE_NAMES', 'CLASSES', 'SHORT_SIDE', 'SPLITS', *_HOMES]


def __getattr__(name):
    if name not in _HOMES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_HOMES[name], __name__), name)
