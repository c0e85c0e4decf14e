"""Writes the page on what can go wrong: each fault is provoked here and now, and says its own sentence in both languages.

    python docs/wrong.py      renews text/wrong.en.md and text/wrong.zh.md; a test does the same and compares
"""
import re, shutil, socket, sys, tempfile
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest import mock

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from sotalearn.catalogue import in_chinese
from sotalearn.files import write_atomic

HEADS = dict(en=('What can go wrong', 'What each thing that goes wrong says, and what to do.',
                 'The course refuses what it cannot do in one sentence, before anything is trained or written. '
                 'Every sentence below was said by the course itself when this page was made.', 'It says', 'Do this'),
             zh=('可能会出什么问题', '每种问题会怎样提示，该怎么办。',
                 '课程做不到的事，会在训练和写文件之前用一句话拒绝。下面每句话都是生成本页时课程自己说出来的。', '提示', '怎么办'))


class Trouble(NamedTuple):
    "Something that goes wrong."
    provoke: object # a function of an empty folder that raises an error, or returns what was said
    en: str # what to do
    zh: str # the same in Chinese


def _folder(place):
    "A folder laid out as Imagenette, of tiny pictures."
    from PIL import Image
    for name in ('train/cat/1.jpg', 'train/dog/2.jpg', 'val/cat/3.jpg', 'val/dog/4.jpg'):
        (place/name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 32)).save(place/name)
    return place


def _dataset(change):
    def provoke(place):
        from sotalearn.data import get_dls
        change(_folder(place/'mine'))
        get_dls(2, 16, place/'mine', num_workers=0, cache=False)
    return provoke


def _settings(text):
    def provoke(place):
        from sotalearn.settings import settings
        (place/'settings.ini').write_bytes(text)
        settings(place)
    return provoke


def _table(old, new):
    "A table with a run, in which a spreadsheet or an editor has put something else."
    def provoke(place):
        from sotalearn.recipes import append_run, read_runs
        table = append_run(dict(dataset='toynette', seed=1, accuracy=.5), place/'runs.csv')
        write_atomic(table, table.read_text(encoding='utf-8').replace(old, new))
        read_runs(table)
    return provoke


def _no_network(place):
    from sotalearn import pictures
    with mock.patch.dict('os.environ', FASTAI_HOME=str(place)), \
         mock.patch.object(pictures, 'untar_data', side_effect=OSError('Name or service not known')):
        pictures.dataset('imagenette-160')


def _taken_port(place):
    from sotalearn.school.cli import free_port
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        try: free_port(taken.getsockname()[1])
        except ValueError as e: raise ValueError(str(e).replace(str(taken.getsockname()[1]), '8888')) from None


_EMPTY = b'\x08\0\0\0\0\0\0\0{}      '                # a file of safetensors with nothing in it


def _damaged_checkpoint(place):
    from sotalearn.checkpoints import checkpoint_path, find_checkpoint
    path = checkpoint_path({}, place/'runs.csv')
    path.parent.mkdir(parents=True)
    path.write_bytes(_EMPTY)
    find_checkpoint({}, place/'runs.csv', 'auto')


def _written_nowhere(place):
    from sotalearn.recipes import writable_table
    with mock.patch('sotalearn.recipes.tempfile.TemporaryFile', side_effect=OSError(30, 'Read-only file system')):
        writable_table(place/'runs.csv')


def _not_recorded(place):
    from sotalearn import recipes
    with mock.patch.object(recipes, 'append_run', side_effect=OSError(28, 'No space left on device')), \
         redirect_stdout(StringIO()):
        found = {}
        for language in ('en', 'zh'):
            with mock.patch.dict('os.environ', SOTALEARN_LANGUAGE=language):
                found[language] = recipes.record_run(dict(seed=1, accuracy=.5), place/'runs.csv')
    return found


def _model(text):
    def provoke(place):
        from sotalearn.models import load_model
        if text is not None: (place/'model.safetensors').write_bytes(text)
        load_model(place/'model.safetensors')
    return provoke


def _no_picture(place):
    from sotalearn.reader import read_picture
    (place/'photo.jpg').write_bytes(b'<html>not found</html>')
    read_picture(place/'photo.jpg')


def _recipe(**fields):
    def provoke(place):
        from sotalearn.recipes import Recipe
        Recipe(**fields)
    return provoke


def _home(place):
    from sotalearn.files import as_path
    as_path('~somebody/pictures')


def _remove(*names):
    def change(folder):
        for name in names: shutil.rmtree(folder/name) if (folder/name).is_dir() else (folder/name).unlink()
    return change


TROUBLES = {
    ('Settings', '设置'): [
        Trouble(_settings(b'[sotalearn]\nepoch = 3\n'), 'Write the name as it is suggested.', '照提示改名字。'),
        Trouble(_settings(b'[sotalearn]\nepochs = many\n'), 'Give a number in the range; the line above it in `settings.ini` tells the range.',
                '换成范围内的数；`settings.ini` 里它上方那行写着范围。'),
        Trouble(_settings('[sotalearn]\nresults = 结果.csv\n'.encode('gbk')),
                'In your editor choose “Save as” and the encoding UTF-8.', '在编辑器里选“另存为”，编码选 UTF-8。'),
        Trouble(_home, 'Spell the folder out, such as `/home/somebody/pictures`.', '写出完整的路径，例如 `/home/somebody/pictures`。')],
    ('Pictures of your own', '你自己的图片'): [
        Trouble(_dataset(_remove('val')), 'Make a folder `val` with some pictures of each class, or let `sotalearn train --val` split yours.',
                '建一个 `val` 文件夹，每类放几张图片；也可以让 `sotalearn train --val` 替你划分。'),
        Trouble(_dataset(_remove('train/dog/2.jpg')), 'Put pictures into that folder, or delete it.', '往那个文件夹里放图片，或者删掉它。'),
        Trouble(_dataset(lambda folder: (folder/'val'/'dog').rename(folder/'val'/'wolf')),
                'Give the folders in `train` and `val` the same names.', '让 `train` 和 `val` 里的文件夹同名。'),
        Trouble(_dataset(lambda folder: (folder/'train'/'dog'/'2.jpg').write_bytes(b'\xff\xd8\xff cut off')),
                'Download or copy that picture again, or delete it.', '重新下载或复制那张图片，或者删掉它。'),
        Trouble(_no_picture, 'Look at the file: a page that says “not found” often stands in a picture\'s place.',
                '看看文件内容：常常是一张写着“找不到”的网页顶替了图片。'),
        Trouble(_no_network, 'Check the network and try again; the drawn pictures need none.', '检查网络后重试；画出来的图片不需要网络。')],
    ('Training', '训练'): [
        Trouble(_recipe(stages='4x64', size=32), 'Put the small pictures first, or make the last size the largest.',
                '小图排在前面，或者让最后的边长最大。'),
        Trouble(_recipe(mixup=.4, cutmix=1.), 'Take Mixup or CutMix, not both.', 'Mixup 和 CutMix 只选一个。'),
        Trouble(_damaged_checkpoint, 'Delete the file that is named and train again.', '删掉提到的文件，重新训练。'),
        Trouble(_written_nowhere, 'In `settings.ini` set `results` to a folder that you may write to.',
                '在 `settings.ini` 里把 `results` 设到你能写的文件夹。'),
        Trouble(_not_recorded, 'Make room, then append the last line of the file that is named to your table.',
                '腾出空间，再把提到的文件里最后一行加到你的表里。')],
    ('The table of results', '结果表'): [
        Trouble(_table(',', ';'), 'Save it as CSV with commas between the cells.',
                '另存为用英文逗号分隔的 CSV。'),
        Trouble(_table('0.5', '"0,5"'), 'Set your spreadsheet to decimal points and save the table again.',
                '把表格软件的小数点设成英文句点，重新保存。'),
        Trouble(_table(',accuracy,', ',acc,'), 'Give the column its old heading back; columns of your own may have any other.',
                '把那一列的标题改回原名；你自己加的列可以用别的名字。')],
    ('Saved models', '保存的模型'): [
        Trouble(_model(None), 'Check the path.', '检查路径。'),
        Trouble(_model(_EMPTY), 'Load only files that `save_model` wrote.', '只加载 `save_model` 写的文件。')],
    ('JupyterLab', 'JupyterLab'): [
        Trouble(_taken_port, 'Leave `--port` out, or stop the program that holds the port.', '不写 `--port`，或停掉占用端口的程序。')]}


@contextmanager
def _empty_folder():
    with tempfile.TemporaryDirectory(prefix='wrong-') as place: yield Path(place)


def said(trouble:Trouble)->dict: # {'en': sentence, 'zh': sentence}
    "What the course says of a trouble; where the folder lies is left out."
    with _empty_folder() as place, mock.patch.dict('os.environ', SOTALEARN_LANGUAGE='en'):
        try: found = trouble.provoke(place)
        except (ValueError, OSError) as e: found = dict(en=str(e), zh=in_chinese(str(e)))
        if not found: raise ValueError(f'{trouble.provoke} must go wrong')
        names = re.compile(rf'{re.escape(str(place.resolve()))}|{re.escape(str(place))}')
        return {language: re.sub(r'\d+-[0-9a-f]{8}|\b[0-9a-f]{16}\b', '…', names.sub('…', text))
                for language, text in found.items()}


def pages()->dict: # {'en': Markdown, 'zh': Markdown}
    "The page in both languages."
    parts = {language: [f'# {title}', f'> {lead}', intro] for language, (title, lead, intro, *_) in HEADS.items()}
    for names, troubles in TROUBLES.items():
        for language, name in zip(parts, names): parts[language].append(f'## {name}')
        rows = [(said(trouble), trouble) for trouble in troubles]
        for language, page in parts.items():
            lines = [f'| {HEADS[language][3]} | {HEADS[language][4]} |', '|---|---|']
            for sentences, trouble in rows:
                told = sentences[language].replace('|', '\\|').replace('`', "'")
                lines.append(f'| `{told}` | {getattr(trouble, language)} |')
            page.append('\n'.join(lines))
    return {language: '\n\n'.join(page) + '\n' for language, page in parts.items()}


def main():
    for language, text in pages().items(): write_atomic(HERE/'text'/f'wrong.{language}.md', text)


if __name__ == '__main__': main()
