"""Old addresses of pages that are elsewhere now: each keeps a small page that leads on."""
import html
from pathlib import Path

from sotalearn.files import write_atomic
from sotalearn.settings import LANGUAGES

# old name below a language, without its ending: where most of what it held is now
MOVED = {
    'tools/course': 'tools/settings', 'tools/demo': 'demos/base',
    'api/cli': 'api/school.cli', 'api/course': 'api/settings', 'api/demo': 'api/demos.base',
    'api/exercises': 'api/school.exercises', 'api/questionnaire': 'api/school.questionnaire',
    'api/quiz': 'api/school.quiz', 'api/toynette': 'api/toynette.scenes'}
WORDS = dict(en=('This page has moved', 'It is now at'), zh=('本页已移到别处', '现在的地址：'))
PAGE = '''<!doctype html>
<html lang="{code}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <meta name="robots" content="noindex">
  <meta http-equiv="refresh" content="0; url={way}">
  <link rel="icon" href="{up}_static/logo.svg">
  <title>{title} · sotalearn</title>
  <link rel="canonical" href="{address}/{language}/{new}.html">
</head>
<body><main><h1>{title}</h1><p>{lead} <a href="{way}">{name}</a></p></main></body>
</html>
'''


def write_forwards(site:Path, # the built site
                   told:dict, # {language: {page: (title, description)}}
                   address:str, # the site's
                  )->list: # a sentence for each that would lead nowhere
    "Write a page at each old address: it leads on by itself, has a link for whom it does not lead, and is in no index."
    wrong = []
    for language in LANGUAGES:
        pages, (title, lead) = told[language], WORDS[language]
        for old, new in MOVED.items():
            up = '../'*old.count('/')
            if old in pages: wrong.append(f'{old} is a page again: it need not lead to {new}')
            elif new not in pages: wrong.append(f'{old} leads to {new}, which is no page')
            else:
                page = PAGE.format(code=dict(en='en', zh='zh-CN')[language], up=up, way=f'{up}{new}.html', new=new,
                                   title=title, lead=lead, language=language, address=address,
                                   name=html.escape(pages[new][0]))
                write_atomic(site/language/f'{old}.html', page)
    return wrong
