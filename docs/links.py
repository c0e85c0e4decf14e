"""Follows every link of the built site that stays inside it, to the file and to the passage."""
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    "A page's anchors, and what it links to or loads."

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.anchors, self.targets = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if name := attributes.get('id'): self.anchors.add(name)
        if tag == 'a' and (name := attributes.get('name')): self.anchors.add(name)
        absolute = tag == 'link' and attributes.get('rel') in ('canonical', 'alternate')
        if absolute: return                     # the site's address, not a file
        self.targets += [attributes[name] for name in ('href', 'src', 'poster') if attributes.get(name)]
        if attributes.get('http-equiv') == 'refresh': self.targets.append(attributes['content'].split('url=')[1])


def _there(path, target):
    "The file that a link of a page or style leads to; None if it leaves the site."
    parts = urlsplit(target)
    if parts.scheme or parts.netloc: return None
    there = (path.parent/unquote(parts.path)).resolve() if parts.path else path
    return there/'index.html' if there.is_dir() else there


def _broken_links(path, pages):
    "(what is not there, link) for the links of a page."
    for target in pages[path].targets:
        there, passage = _there(path, target), unquote(urlsplit(target).fragment)
        if there is None: continue
        if not there.exists(): yield 'file', target
        elif passage and passage != 'choose' and there in pages and passage not in pages[there].anchors:
            yield 'passage', target


def broken(site:Path, # a built site
          )->list: # a sentence each: the page, and the target that is not there
    "The links inside a site that lead nowhere."
    site = site.resolve()
    pages = {path: _Page(path.read_text(encoding='utf-8')) for path in site.rglob('*.html')}
    found = []
    for path in pages:
        if path.name == '404.html': continue                       # its links are absolute: it may stand anywhere
        found += [f'{path.relative_to(site)}: no {what} for the link {target}'
                  for what, target in _broken_links(path, pages)]
    for path in site.rglob('*.css'):
        for target in re.findall(r'url\(["\']?([^)"\']+)["\']?\)', path.read_text(encoding='utf-8')):
            there = _there(path, target)
            if there and not there.exists(): found.append(f'{path.relative_to(site)}: no file for {target}')
    return sorted(set(found))
