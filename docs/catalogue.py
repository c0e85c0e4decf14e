"""Keeps the course's catalogues whole: what the code says in English, what stands beside it, and their Chinese twins.

    python docs/catalogue.py      adds the sentences that they lack, drops those that nothing says, names those without a twin
"""
import ast, json, re, sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import nbformat
from fastcore.docments import docments

from sotalearn.catalogue import read_catalogue
from sotalearn.languages import pieces

PACKAGE = HERE.parent/'sotalearn'
CATALOGUE = PACKAGE/'locale'/'zh_CN'/'LC_MESSAGES'/'sotalearn.po'
CHAPTERS, REMARKS = (CATALOGUE.with_name(f'{name}.po') for name in ('chapters', 'api'))
HEAD = '''# {}: docs/catalogue.py keeps it whole.
msgid ""
msgstr "Language: zh_CN\\nContent-Type: text/plain; charset=UTF-8\\n"
'''
TOLD = {CATALOGUE: 'The Chinese of what the code says in English',
        REMARKS: 'The Chinese of the docstrings and comments in the code behind the chapters'}
# What Python's own argparse says to a learner, with our kind of gaps.
ARGPARSE = ('usage: ', 'positional arguments', 'options', 'show this help message and exit',
            "show program's version number and exit", 'the following arguments are required: {names}',
            'argument {name}: {message}', 'expected one argument', 'invalid {type} value: {value}',
            'unrecognized arguments: {words}', 'ambiguous option: {option} could match {options}',
            'ignored explicit argument {value}', 'not allowed with argument {option}')
_PARSES = ('add_argument', 'add_parser', '_Parser')

# What fastai says of the parameters that the classes of `sotalearn.loading` have from it.
FASTAI = ('Map- or iterable-style dataset from which to load the data', 'Whether to shuffle data', 'Size of batch',
          'Number of CPU cores to use in parallel (default: All available up to 16)', 'Whether to print verbose logs',
          'Whether to run `setup()` for batch transform(s)',
          'Takes output of `sample` as input, and returns batches of data. Does not apply `after_batch`.',
          'Affine transformations function for a batch', 'Coordinate transformations function for a batch',
          'Output size, duplicated if one value is specified', 'Final size, duplicated if one value is specified',
          'PyTorch `F.grid_sample` interpolation', 'PyTorch `F.grid_sample` align_corners', 'A `PadMode`',
          'Resample mode for mask', 'Interpolation mode for `TensorMask`', 'Range of width over height of the output',
          'Minimum scale of the crop, in relation to image area', 'Maximum scale of the crop, in relation to image area',
          'Scale of the crop for the validation set, in relation to image area')


def template(node:ast.AST)->str: # None if the node is no text
    "A literal text or f-string as the catalogue has it: each gap as it stands in the code."
    if isinstance(node, ast.Constant) and isinstance(node.value, str): return node.value
    if not isinstance(node, ast.JoinedStr): return None
    def part(value):
        if isinstance(value, ast.Constant): return value.value
        conversion = '' if value.conversion == -1 else f'!{chr(value.conversion)}'
        return f'{{{ast.unparse(value.value)}{conversion}{f":{template(value.format_spec)}" if value.format_spec else ""}}}'
    return ''.join(map(part, node.values))


def _texts(node):
    "The whole texts below a node, but those that `say` has in both languages."
    if (text := template(node)) is not None: yield text
    elif isinstance(node, ast.Subscript): yield from _texts(node.value)         # what stands in its brackets is a key
    elif not (isinstance(node, ast.Call) and _name(node) == 'say' and len(node.args) > 1):
        for child in ast.iter_child_nodes(node): yield from _texts(child)


def _name(call): return getattr(call.func, 'id', getattr(call.func, 'attr', ''))


def is_sentence(text:str)->bool:
    "Has a text words to translate?"
    return bool(re.search('[A-Za-z]{3}', re.sub(r'\{[^{}]*\}', '', text))) and ' ' in text.strip()


def has_words(text:str)->bool:
    "Does a remark say more than code?"
    return bool(re.search('[A-Za-z]{2}', re.sub('`[^`]*`', '', text)))


def _said(tree):
    "What a module says to whoever uses it: its errors, what it passes to `say` alone, and its help."
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call): continue
        if _name(node).endswith('Error'): yield from filter(is_sentence, _texts(node))
        elif getattr(node.func, 'id', '') == 'say' and len(node.args) == 1: yield from _texts(node.args[0])
        elif _name(node) in _PARSES:
            shown = [keyword.value for keyword in node.keywords if keyword.arg in ('help', 'description', 'epilog')]
            for value in shown: yield from filter(is_sentence, _texts(value))


def trees()->dict: # {path below the package: syntax tree}
    "The modules of the course."
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding='utf-8'))
            for path in sorted(PACKAGE.rglob('*.py')) if path.name != '_modidx.py'}


def sentences()->dict: # {English: the module that says it}
    "All that the course says in English alone."
    from sotalearn.recipes import Recipe
    found = {text: 'argparse' for text in ARGPARSE}
    found |= {comment: 'recipes.py' for name, comment in docments(Recipe).items() if comment and name != 'return'}
    for module, tree in trees().items(): found |= {text: module for text in _said(tree) if text.strip()}
    return found


def literals()->set:
    "Every text of the code: parts of sentences are found among them."
    return {text for tree in trees().values() for node in ast.walk(tree) if (text := template(node))}


def remarks()->dict: # {English: the notebook that has it}
    "The docstrings and comments in the code behind the chapters, which the reference, `?` and the site show."
    known = [read_catalogue(CHAPTERS.read_text(encoding='utf-8'), kind) for kind in ('comment', 'docstring')]
    known = set().union(sentences(), *known)
    found = {text: notebook for notebook, text in _remarks() if has_words(text) and text not in known}
    return found | {text: 'fastai' for text in FASTAI}


def _remarks():
    for folder in ('tools', 'demos'):
        for path in sorted((HERE.parent/'nbs'/folder).glob('*.ipynb')):
            for cell in nbformat.read(path, as_version=4).cells:
                found = pieces(cell.source) if cell.cell_type == 'code' else ()
                yield from ((f'{folder}/{path.stem}', text) for *_, kind, text in found if kind != 'sentence')


def as_text(entries:dict, # {English: (module, Chinese)}
            path:Path, # whose head it gets
           )->str:
    "A gettext catalogue."
    def quoted(text): return json.dumps(text, ensure_ascii=False)
    parts = [f'#: {module}\nmsgid {quoted(text)}\nmsgstr {quoted(twin)}\n'
             for text, (module, twin) in sorted(entries.items(), key=lambda entry: (entry[1][0], entry[0]))]
    return '\n'.join([HEAD.format(TOLD[path]), *parts])


def renewed(twins:dict, # {English: Chinese}
            wanted:dict, # {English: module}
            known:set=frozenset(), # texts of the code, which may be parts of sentences
           )->dict: # {English: (module, Chinese)}
    "All that is wanted, and what else the code still has; their twins are kept."
    parts = {text: 'parts' for text in twins if text in known}
    return {text: (module, twins.get(text, '')) for text, module in (parts | wanted).items()}


def kept_whole()->dict: # {path: entries}
    "Both catalogues as they should be."
    def known(path): return read_catalogue(path.read_text(encoding='utf-8'))
    return {CATALOGUE: renewed(known(CATALOGUE), sentences(), literals()), REMARKS: renewed(known(REMARKS), remarks())}


def main():
    for path, entries in kept_whole().items():
        path.write_text(as_text(entries, path), encoding='utf-8')
        for text, (module, twin) in entries.items():
            if not twin: print(f'{module}: {text!r} has no twin')


if __name__ == '__main__': main()
