"""Moves the pictures of a page into files of their own, which both languages share."""
import base64, hashlib, io, json, re
from pathlib import Path

from PIL import Image

DEMO = re.compile(r'(<div lang="\w+"[^>]*class="sotalearn-demo">.*?<script type="application/json">)'
                  r'(.*?)(</script></div>)')
DATA_IMAGE = re.compile(r'<img ([^>]*?)src="data:image/(\w+);base64,([^"]+)"([^>]*)>')
_PLAYER = re.compile(r'<script type="module">(?:(?!</script>).)*play\(\);</script>', flags=re.S)


class Assets:
    "The pictures of all pages: files named for their content, so that both languages share what is the same."

    def __init__(self, folder:Path):
        self.folder, self.used = Path(folder), set()
        self.folder.mkdir(parents=True, exist_ok=True)

    def store(self,
              encoded:str, # a picture as base64 text
              kind:str, # the file name's ending
             )->str: # the file name
        "Keep a picture."
        data = base64.b64decode(encoded)
        name = f'{hashlib.sha256(data).hexdigest()[:16]}.{kind}'
        if not (self.folder/name).exists(): (self.folder/name).write_bytes(data)
        self.used.add(name)
        return name

    def prune(self):
        "Remove the pictures that no page of this build has."
        for path in self.folder.iterdir():
            if path.name not in self.used: path.unlink()


def _as_file(match, assets, up):
    "An `<img>` with its picture in a file, its height known before the file is there, and loaded when it is needed."
    before, kind, encoded, after = match.groups()
    name = assets.store(encoded, kind)
    attributes = f'{before}{after}'
    width = re.search(r'width="(\d+)"', attributes)
    if width and 'height="' not in attributes:
        wide, high = Image.open(io.BytesIO(base64.b64decode(encoded))).size
        attributes += f' height="{round(int(width[1])*high/wide)}"'
    if width: attributes = attributes.replace('style="', f'style="--width: {width[1]}px; ')     # for a phone: see site.css
    return f'<img {attributes.strip()} src="{up}assets/{name}" loading="lazy" decoding="async">'


def _demo_as_files(match, assets, up):
    "A live figure whose pictures are files. The first is in the page as an `<img>` already."
    head, told, tail = match.groups()
    told = json.loads(told)
    for picture in told['pictures'].values():         # those for a phone among them; only what is shown is fetched
        if picture['data']: picture['src'] = f'{up}assets/{assets.store(picture["data"], "webp")}'
        del picture['data']
    return head + json.dumps(told, ensure_ascii=False).replace('</', '<\\/') + tail


def lighten(text:str, # HTML of an output
            assets:Assets,
            up:str, # the way from the page to the site's root
           )->str:
    "An output with its pictures in files. What plays the live figures is the page's own."
    text = DEMO.sub(lambda match: _demo_as_files(match, assets, up), text)
    return DATA_IMAGE.sub(lambda match: _as_file(match, assets, up), _PLAYER.sub('', text))
