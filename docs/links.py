"""Follows every link of the built site that stays inside it, to the file and to the passage."""
import re
from html.parser import HTMLParser
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
        if attributes.get('rel') in ('canonical', 'alternate') and tag == 'link': return       # the site's address, not a file
        self.targets += [attributes[o] for o in ('href', 'src', 'poster') if attributes.get(o)]


def broken(site):
    """The links inside a built site that lead nowhere.

    Parameters
    ----------
    site : pathlib.Path

    Returns
    -------
    list of str
        A sentence each: the page, and the target that is not there.
    """
    site = site.resolve()
    pages = {path: _Page(path.read_text(encoding='utf-8')) for path in site.rglob('*.html')}
    found = []
    for path, page in pages.items():
        if path.name == '404.html': continue                       # its links are absolute: it may stand anywhere
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc: continue
            there = (path.parent/unquote(parts.path)).resolve() if parts.path else path
            if there.is_dir(): there = there/'index.html'
            passage = unquote(parts.fragment)
            if not there.exists(): found.append(f'{path.relative_to(site)}: no file for the link {target}')
            elif passage and passage != 'choose' and there in pages and passage not in pages[there].anchors:
                found.append(f'{path.relative_to(site)}: no passage for the link {target}')
    for path in site.rglob('*.css'):
        for target in re.findall(r'url\(["\']?([^)"\']+)["\']?\)', path.read_text(encoding='utf-8')):
            there = urlsplit(target)
            if not there.scheme and there.path and not (path.parent/unquote(there.path)).exists():
                found.append(f'{path.relative_to(site)}: no file for {target}')
    return sorted(set(found))
