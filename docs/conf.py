"""Sphinx's configuration for one language of the site; docs/build.py names it in the environment."""
import hashlib, html, json, os, sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import latex2mathml.converter
import sphinx.search
from docutils import nodes
from sphinx import addnodes
from sphinx.roles import XRefRole

import origins
import sotalearn
from docstrings import as_rst, origin, parameter_fields
from search import ChineseByPairs
from sotalearn.signatures import explained

LANGUAGE = os.environ.get('DOCS_LANGUAGE', 'en')
ADDRESS = os.environ.get('SITE_URL', 'http://localhost:8000').rstrip('/')
SOURCE = os.environ.get('DOCS_SOURCE')
MODULES = origins.modules()
PAGES = json.loads((Path(SOURCE)/'pages.json').read_text(encoding='utf-8')) if SOURCE else {}

project, author, copyright = 'sotalearn', 'The sotalearn authors', 'The sotalearn authors, Apache 2.0'
release = version = sotalearn.__version__
locale_dirs = [str(HERE/'locale')]          # what the theme has no Chinese for
language = dict(en='en', zh='zh_CN')[LANGUAGE]
extensions = ['myst_nb', 'sphinx_design', 'sphinx_copybutton', 'sphinx.ext.autodoc', 'sphinx.ext.autosummary']
exclude_patterns = ['pages.json']
nitpicky = True
# Other projects' names: without a network there is nothing to look them up in. Ours must all be found.
nitpick_ignore_regex = [(r'py:.*', r'(?!sotalearn\.).*')]
suppress_warnings = ['config.cache', 'mystnb.lexer']

# ------------------------------------------------------------ notebooks
nb_execution_mode = 'off'
nb_merge_streams = True
nb_number_source_lines = False
nb_code_prompt_show = dict(en='Show the code', zh='展开代码')[LANGUAGE]
nb_code_prompt_hide = dict(en='Hide the code', zh='收起代码')[LANGUAGE]
myst_enable_extensions = ['dollarmath', 'amsmath', 'colon_fence', 'attrs_inline', 'attrs_block']
myst_dmath_double_inline = True

# ------------------------------------------------------------ reference
autosummary_generate = False
autodoc_typehints = 'none'
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autoclass_content = 'class'
add_module_names = False
default_role = 'ours'

# ------------------------------------------------------------ looks
def digest_of(*places):
    "Of the files in some folders and of some files: pages that were written with others are written anew."
    files = [file for place in places for file in (sorted(place.rglob('*')) if place.is_dir() else [place])]
    return hashlib.sha256(b''.join(file.read_bytes() for file in files if file.is_file() and file.suffix != '.mo')).hexdigest()


html_theme = 'sphinx_book_theme'
html_title = 'sotalearn'
html_baseurl = f'{ADDRESS}/{LANGUAGE}/'
html_static_path = ['static']
html_css_files = ['site.css']
templates_path = [str(HERE/'templates')]
looks = digest_of(*(HERE/name for name in ('static', 'templates', 'locale', 'search.py')))
html_context = dict(default_mode='auto', looks=looks)
html_favicon = 'static/logo.svg'
html_logo = 'static/logo.svg'
html_use_index = html_domain_indices = html_copy_source = html_show_sourcelink = False
html_permalinks_icon = '#'
pygments_style = 'a11y-light'
html_sidebars = {'**': ['navbar-logo', 'search-button-field.html', 'sbt-sidebar-nav.html']}
html_theme_options = dict(
    logo=dict(text='sotalearn', alt_text=dict(en='Home page', zh='首页')[LANGUAGE]), home_page_in_toc=False,
    navbar_persistent=[], article_header_end=['language.html', 'article-header-buttons.html'],
    search_bar_text=dict(en='Search …', zh='搜索……')[LANGUAGE], use_download_button=False, use_fullscreen_button=False, use_source_button=False,
    show_navbar_depth=1, max_navbar_depth=2, collapse_navbar=True, show_toc_level=2,
    toc_title=dict(en='On this page', zh='本页内容')[LANGUAGE], footer_content_items=['site-footer.html'],
    pygments_light_style='a11y-high-contrast-light', pygments_dark_style='a11y-high-contrast-dark')
html_search_language = 'zh'
sphinx.search.languages['zh'] = ChineseByPairs
copybutton_exclude = '.linenos, .gp, .go'


# ------------------------------------------------------------ formulas as MathML: no script, no font, no request

def inline_formula(translator, node):
    translator.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(translator, node):
    formula = latex2mathml.converter.convert(node.astext(), display='block')
    translator.body.append(f'<div class="math" tabindex="0" role="group">{formula}</div>')
    raise nodes.SkipNode


# ------------------------------------------------------------ docstrings

class OursOrCode(XRefRole):
    "`name` in a docstring: a link if it is a name of this course, code in any case."
    nodeclass = addnodes.pending_xref

    def __init__(self): super().__init__(innernodeclass=nodes.literal)

    def process_link(self, env, refnode, has_explicit_title, title, target):
        context = {name: env.ref_context.get(name) for name in ('py:module', 'py:class')}
        refnode.update_all_atts({'refdomain': 'py', 'reftype': 'obj', 'ours': True, **context})
        return title, target


def stay_code(app, env, node, content):
    "A word in backquotes that names nothing of ours, or has no docstring, is code. A name of ours must be there."
    if not node.get('ours'): return None
    *module, name = node['reftarget'].split('.')
    if module[:1] != ['sotalearn'] or hasattr(sys.modules.get('.'.join(module)), name): return content


def tell_all(app, what, name, obj, options, lines):
    "A docstring as the reference shows it: the words, the parameters, and where it is taught."
    if what == 'module':          # that is what its notebook says of itself, which it does in both languages
        page = PAGES.get('pages', {}).get(MODULES.get(name.removeprefix('sotalearn.')), {})
        lines[:] = [page.get('description') or lines[0], '']
    lines[:] = as_rst(explained('\n'.join(lines), LANGUAGE)).split('\n')
    if what not in ('function', 'method', 'class', 'exception'): return
    lines += ['', *parameter_fields(obj, LANGUAGE), '']
    place = PAGES.get('places', {}).get(name)
    if place: lines += origin(place, LANGUAGE)


def skip_fields(app, what, name, obj, skip, options):
    "The fields of a named tuple stand among its parameters; what another library gives a class, it tells of itself."
    theirs = what == 'class' and callable(obj) and not str(getattr(obj, '__module__', '')).startswith('sotalearn')
    return True if theirs or type(obj).__name__ == '_tuplegetter' else None


# ------------------------------------------------------------ pages

def name_passages(app, doctree):
    "A heading takes the anchor that the reader put before it: JupyterLab's, and the same in every language."
    waiting = None
    for node in list(doctree.findall()):
        if isinstance(node, nodes.raw) and 'class="anchor"' in (found := node.astext()):
            name = html.unescape(found.split('id="')[1].split('"')[0])
            if name.startswith('cell-'): continue
            waiting = node, name
        elif isinstance(node, nodes.section) and waiting:
            marker, name = waiting
            if name not in doctree.ids: node['ids'].insert(0, name)             # a second passage of that name has its own
            doctree.ids.setdefault(name, node)
            marker.parent.remove(marker)
            waiting = None


def add_to_page(app, pagename, templatename, context, doctree):
    "What the templates need: the same page in the other language, its description, scripts that do not block."
    context |= dict(site_language=LANGUAGE, other=dict(en='zh', zh='en')[LANGUAGE], address=ADDRESS,
                    description=PAGES.get('pages', {}).get(pagename, {}).get('description', ''))
    toctree = context.get('generate_toctree_html')
    if toctree:       # the theme's buttons that open a branch of the menu have no name
        label = dict(en='Show or hide the pages below', zh='展开或收起下级页面')[LANGUAGE]
        def named(*given, **how):
            return str(toctree(*given, **how)).replace('<summary>', f'<summary aria-label="{label}">')
        context['generate_toctree_html'] = named
    if pagename != 'search': context['script_files'] = [patient(script) for script in context['script_files']]


# What the theme writes into its pages without asking for a translation.
FURNITURE = {'title="Toggle primary sidebar"': 'title="显示或隐藏目录"', 'title="Toggle secondary sidebar"': 'title="显示或隐藏本页内容"',
             'aria-label="Main"': 'aria-label="全部页面"', 'aria-label="Toggle hidden content"': 'aria-label="显示或隐藏代码"',
             'aria-label="Page"': 'aria-label="本页"'}


def speak_furniture(app):
    "Let the frame of the Chinese pages speak Chinese to the last word."
    render = getattr(app.builder.templates, 'render', None)
    if LANGUAGE != 'zh' or not render: return
    def spoken(*given):
        page = render(*given)
        for english, chinese in FURNITURE.items(): page = page.replace(english, chinese)
        return page
    app.builder.templates.render = spoken


def patient(script):
    "A copy of a script of the page that waits until the page is there; one written into the page does so as a module."
    waits = dict(defer='defer') if script.filename else dict(type='module')
    return type(script)(script.filename, priority=script.priority, **{**script.attributes, **waits})


def setup(app):
    app.add_html_math_renderer('mathml', (inline_formula, None), (displayed_formula, None))
    app.add_role('ours', OursOrCode())
    app.connect('builder-inited', speak_furniture)
    app.connect('missing-reference', stay_code)
    app.connect('autodoc-process-docstring', tell_all)
    app.connect('autodoc-skip-member', skip_fields)
    app.connect('doctree-read', name_passages, priority=400)
    app.connect('html-page-context', add_to_page, priority=900)
    return dict(parallel_read_safe=True, parallel_write_safe=True)


html_math_renderer = 'mathml'
