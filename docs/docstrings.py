"""What the reference says of a function: its sentence, its parameters with their comments, and where it is taught."""
import re

from sotalearn.signatures import explained, parameters

WORDS = dict(en=dict(taught='Taught in', written='Written in', cell='source cell'),
             zh=dict(taught='讲解见', written='写在', cell='源代码单元格'))


def as_rst(text:str)->str:
    "Plain text with `code` as reStructuredText: a name alone may become a link, and no other sign means anything."
    def code(inner): return f'`{inner}`' if re.fullmatch(r'[A-Za-z_][\w.]*', inner) else f'``{inner}``'
    def plain(part): return re.sub(r'([\\*|]|_(?=\W|$))', r'\\\1', part)
    parts = re.split(r'`+([^`]+)`+', text)
    shown = ''.join(code(part) if i % 2 else plain(part) for i, part in enumerate(parts))
    return re.sub(r'(?<=[^\x00-\x7f])(?=`)|(?<=`)(?=[^\x00-\x7f])', r'\\ ', shown)      # no word ends at a Chinese sign


def parameter_fields(obj, # a function, a method or a class
                     language:str, # 'en' or 'zh'
                    )->list: # lines of reStructuredText
    "The parameters of a function or class as Sphinx's fields, and what it returns."
    def said(parameter): return as_rst(explained(parameter.comment, language))
    *given, returned = parameters(obj) or [None]
    lines = []
    for told in given:
        if told.comment or told.annotation: lines.append(f':param {as_rst(told.name)}: {said(told)}'.rstrip())
        if told.annotation: lines.append(f':type {as_rst(told.name)}: {as_rst(told.annotation)}')
    if returned:
        kind = f'*{as_rst(returned.annotation)}*' if returned.annotation else ''
        words = ' – '.join(filter(None, [kind, said(returned)]))
        if words: lines.append(f':returns: {words}')
    return lines


def origin(place:dict, # notebook, its title, the cell's id, and whether it is a chapter
           language:str, # 'en' or 'zh'
          )->list: # lines of reStructuredText
    "The notebook that teaches a function, and the cell that makes it."
    words, link = WORDS[language], f'../{place["notebook"]}.html'
    return ['.. container:: origin', '', f'   {words["taught" if place["chapter"] else "written"]} '
            f'`{place["title"]} <{link}>`__ · `{words["cell"]} <{link}#cell-{place["cell"]}>`__', '']
