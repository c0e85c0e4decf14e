"""Where the course's functions are written: its modules, what each exports, and the cell behind each name."""
import ast, re
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent/'sotalearn'
FOLDERS = ('', 'tools', 'demos', 'questions')       # below nbs/, in the order of the reference; '' holds the chapters


class Place(NamedTuple):
    "The cell that exports an object."
    notebook: str # below nbs/, without its ending
    cell: str # its id


def folder_of(notebook:str)->str: # '' for a chapter
    "The folder below nbs/ that a notebook lies in."
    return notebook.rpartition('/')[0]


@cache
def _text(module): return (PACKAGE/f'{module.replace(".", "/")}.py').read_text(encoding='utf-8')


def _tree(module): return ast.parse(_text(module))


def places(module:str, # below sotalearn, such as 'mixup' or 'demos.mixup'
          )->dict: # {name: Place}
    "Where each name of an exported module is written, by the marks that nbdev leaves."
    text = _text(module)
    marks = [(text[:mark.start()].count('\n') + 1, Place(*mark.groups()))
             for mark in re.finditer(r'^# %% (?:\.\./)+nbs/(.+?)\.ipynb #(\w+)$', text, flags=re.M)]
    def place(line): return next((place for start, place in reversed(marks) if start < line), None)
    return {name: place(node.lineno) for node in _tree(module).body for name in _names(node)}


def _names(node):
    "The names that a statement of a module defines."
    if hasattr(node, 'name'): return [node.name]
    return [target.id for target in getattr(node, 'targets', []) if isinstance(target, ast.Name)]


def modules()->dict: # {name below sotalearn: notebook}
    "The modules with something to call, those of the chapters first and in reading order."
    found = {}
    for path in PACKAGE.rglob('*.py'):
        name = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)
        written = re.search(r'File to edit: (?:\.\./)+nbs/(.+?)\.ipynb', _text(name))
        if written and not path.name.startswith('_') and public(name): found[name] = written[1]
    return dict(sorted(found.items(), key=lambda item: (FOLDERS.index(folder_of(item[1])), item[1])))


def public(module:str)->list: # names
    "The functions and classes that a module exports, in the order in which it defines them."
    body = _tree(module).body
    exported = next((ast.literal_eval(node.value) for node in body if '__all__' in _names(node)), [])
    defined = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [name for name in defined if name in exported]
