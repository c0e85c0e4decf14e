"""Live figures without a browser: errors, bounds, the stored form."""
import base64, inspect, io, json, os, random, re, subprocess, sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from sotalearn.demos import base
from sotalearn.demos.base import Demo, demo
from sotalearn.demos.controls import Choice, Slider
from sotalearn.demos.mixup import alpha_demo, mixup_demo
from sotalearn.demos.normalization import normalization_demo
from sotalearn.demos.page import PHONE, Layout, Page
from sotalearn.demos import pictures as demo_pictures
from sotalearn.demos.pictures import own_pictures
from sotalearn.demos.resizing import resizing_demo
from sotalearn.demos.seeds import seeds_demo
from sotalearn.demos.smoothing import label_smoothing_demo, temperature_demo
from sotalearn.school.copy import in_language

DEMOS = dict(alpha=alpha_demo, label_smoothing=label_smoothing_demo, mixup=mixup_demo, normalization=normalization_demo,
             resizing=resizing_demo, seeds=seeds_demo, temperature=temperature_demo)
WHOLE = dict(widths=(2,), heights=(2,), margins=(0, 0, 0, 0))


@demo(Slider('side', ('side', '边长'), 0, 10, 1, start=5, only_if=('kind', 'square')),
      Choice('kind', ('kind', '种类'), dict(square=('square', '方'), nothing=('nothing', '无'))), mosaic='s', **WHOLE)
def make_square(page, side, kind):
    "A small demo: a square whose size and kind are chosen."
    if side == 7: raise ValueError('side must not be 7')
    if side == 8: raise KeyError('eight')
    if kind == 'square': page.boxes('s', 0, 0, side/10, [side/10], 'k')
    page.alt(f'A square of {side}.', f'边长为 {side} 的正方形。')


@demo(Slider('height', ('height', '高'), 0, 4, 1, start=2), mosaic='s', **WHOLE)
def make_bar(page, height):
    page.boxes('s', 0, 0, .5, [height/4], 'k')
    page.alt(f'A bar of {height}.', f'一根高 {height} 的柱子。')


@pytest.fixture
def square():
    demo = make_square('en')
    demo.replies = []
    demo.send = lambda content, buffers=None: demo.replies.append((content, buffers))
    yield demo
    demo.close()


def told(page): return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


def test_a_picture_follows_its_values(square):
    dark = lambda **values: sum(v < 128 for v in square.picture(**values).convert('L').tobytes())/(384*384)
    assert [round(dark(side=s), 1) for s in (0, 5, 10)] == [0, .2, 1] or abs(dark(side=5) - .25) < .02
    assert dark(side=10, kind='nothing') == 0


def test_values_that_are_not_allowed_are_refused_in_a_sentence(square):
    for value, said in ((float('nan'), 'got nan'), (11, 'got 11'), ('x', "got 'x'"), ({}, 'got {}'), (None, 'got None')):
        square.side = value
        assert said in square.note and square.note.startswith('side must be a number from 0 to 10') and square.side == 5
    square.kind = 'circle'
    assert square.note == "kind must be one of square, nothing, got 'circle'"
    square.side = 6
    assert square.note == '' and square.side == 6
    assert 'kind is not' not in make_square(side=99).note and make_square(side=99).side == 5
    assert make_square(colour=1).note == 'colour is not a control of this demo; its controls: side, kind'
    assert make_square(language='fr').note.startswith('language must be one of en, zh')


@pytest.mark.parametrize('content', [
    None, [], 'x'*10_000_000, 7, {}, {'ask': None}, {'ask': {'side': 5}}, {'ask': {'side': 'NaN', 'kind': 'square'}},
    {'ask': {'side': None, 'kind': 'square'}}, {'ask': {'side': 5, 'kind': ['square']*1_000_000}}, {'do': 'x'},
    {'ask': {str(i): i for i in range(100_000)}}, {'ask': {'side': 5, 'kind': 'square'}, 'narrow': 1}, {'ask': {'side': 5, 'kind': 'square'}, 'density': 1e9},
    {'ask': {'side': 5, 'kind': 'square'}, 'density': ['x'*10_000_000]}, {'ask': {'side': 5, 'kind': 'square'}, 'more': 1}], ids=lambda content: str(content)[:30])
def test_messages_that_make_no_sense_get_a_sentence(square, content):
    square._handle_custom_msg(content, [])
    (reply, buffers), = square.replies
    assert buffers is None and reply['error'] and len(reply['error']) < 400 and '\n' not in reply['error']
    square._handle_custom_msg({'ask': {'side': 5, 'kind': 'square'}}, [])
    assert square.replies[-1][1]


def test_a_picture_that_cannot_be_drawn_does_not_end_the_demo(square):
    for side in (7, 8, 5): square._handle_custom_msg({'ask': {'side': side, 'kind': 'square'}}, [])
    (seven, _), (eight, _), (five, data) = square.replies
    assert seven == dict(name='7,0', error='side must not be 7')
    assert eight['error'] == "This picture could not be drawn (KeyError: 'eight')"
    assert five['name'] == '5,0' and data


def test_a_page_gets_as_many_dots_as_it_asks_for(square):
    for density in (1, 2, 1):
        square._handle_custom_msg({'ask': {'side': 5, 'kind': 'square'}, 'density': density}, [])
        reply, (data,) = square.replies[-1]
        picture = Image.open(io.BytesIO(data)).convert('L')
        dots = 192*density
        assert picture.size == (dots, dots) and reply['density'] == density
        assert abs(sum(v < 128 for v in picture.tobytes())/dots**2 - .25) < .01


def test_a_page_cannot_change_what_the_kernel_says(square):
    square.set_state({'note': 'x'*100, 'spec': {}, '_esm': 'alert()', 'side': 3, 'unknown': 1})
    assert square.note == '' and square.spec and 'alert' not in square._esm and square.side == 3


def test_pictures_are_drawn_once(square):
    times, drawing = [], square._drawing
    square._drawing = lambda values, *how, **which: times.append(values) or drawing(values, *how, **which)
    for _ in range(3): square._handle_custom_msg({'ask': {'side': 5, 'kind': 'square'}}, [])
    assert len(times) == 1


@pytest.mark.parametrize('name', DEMOS)
def test_the_stored_form_is_small_and_whole(name):
    demo = DEMOS[name](language='en')
    page = demo.html(['en', 'zh'])
    assert len(page.encode()) <= 1_500_000
    assert not re.search(r'https?://', page)
    assert page.count(' hidden class') == 1 and demo.language == 'en'
    for line, language in zip(page.split('\n'), ('en', 'zh')):
        data = told(line)
        assert line.startswith(f'<div lang="{language}"') and '<img src="data:image/webp' in line
        names = {demo.name_of(**values) for values in demo._stored_values(demo.controls)}
        names |= {f'n{demo.name_of(**values)}' for values in demo._stored_values(demo.controls, narrow=True)}
        assert set(data['pictures']) == names
        assert len(data['pictures']) >= 22 and all(picture['alt'] for picture in data['pictures'].values())
    demo.close()


def test_a_demo_too_rich_to_store_keeps_its_present_picture():
    @demo(Slider('side', ('side', '边长'), 0, 20, 1, start=5), mosaic='n', widths=(8,), heights=(8,))
    def noise(page, side): page.picture('n', torch.rand(800, 800, 3), f'noise {side}')
    assert list(told(noise().html())['pictures']) == ['5']


def letters_of_axes(ax):
    "The labels of both axes and of the ticks that are in sight."
    for axis, ends in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        yield axis.label
        for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels()):
            if min(ends) <= place <= max(ends): yield label


@pytest.mark.parametrize('language', ['en', 'zh'])
@pytest.mark.parametrize('name', DEMOS)
def test_a_phones_layout_holds_its_text_and_none_is_under_11_px(name, language):
    "Whatever the controls say: no letter outside the picture, none smaller than can be read."
    demo = DEMOS[name](language=language)
    assert demo.spec['narrow'][0] <= PHONE
    values = demo._stored_values(demo.controls, narrow=True)
    for chosen in values[::max(1, len(values)//2)]:
        page = Page(demo._narrow, language, narrow=True)
        page.fill(demo._frame, chosen)
        page.canvas.draw()
        texts = [text for ax in page.fig.axes for text in (*ax.texts, ax.title, *(letters_of_axes(ax) if ax.axison else ()))]
        for text in texts:
            if not text.get_visible() or not text.get_text().strip(): continue
            box = text.get_window_extent()
            assert text.get_fontsize()*96/72*328/PHONE >= 11, text           # on a phone of 360 px
            assert box.x0 >= -1 and box.x1 <= page.fig.bbox.width + 1, (text, box)
            assert box.y0 >= -1 and box.y1 <= page.fig.bbox.height + 1, (text, box)
    demo.close()


def test_bad_pictures_are_told_in_the_demos_place():
    sentences = {
        "pictures must be one of cassette_player": mixup_demo(('church', 'mosque'), language='en'),
        'pictures must be of two classes, got church': mixup_demo(('church', 'church'), language='en'),
        'a picture given as int cannot be read as a picture': mixup_demo(dict(a=1, b=2), language='en'),
        'x must have at least 2 values in each channel': normalization_demo(torch.zeros(0, 3, 8, 8), language='en'),
        'x must be a batch': normalization_demo(torch.zeros(3, 8, 8), language='en'),
        'x must hold floats': normalization_demo(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), language='en'),
        'x must have 3 channels to be shown, got shape (2, 4, 8, 8)': normalization_demo(torch.rand(2, 4, 8, 8), language='en'),
        'x must be finite': normalization_demo(torch.full((2, 3, 8, 8), float('nan')), language='en'),
        'std must be above 0, got [0.0, 0.0, 0.0]': normalization_demo(torch.ones(2, 3, 8, 8), language='en', statistics='batch')}
    for sentence, demo in sentences.items():
        page = demo._repr_mimebundle_()['text/html']
        assert f'<p role="alert">' in page and sentence in page and 'Traceback' not in page, sentence
        assert told(page)['spec']['failed'] is True
        demo.close()


@pytest.fixture
def files(tmp_path):
    "Pictures as phones and scrapers leave them: turned by EXIF, of 16 bits, transparent, deep in folders, with others between."
    def save(place, picture, **how):
        path = tmp_path/place
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **how)
    turned = Image.Exif()
    turned[0x0112] = 6
    half = Image.new('RGB', (60, 40), 'black')
    half.paste('white', (0, 0, 30, 40))
    save('cat/2024/May/IMG_1.jpg', half, exif=turned, quality=95)
    save('dog/a.png', Image.fromarray(np.full((40, 60), 40_000, np.uint16)))
    save('dog/b.png', Image.new('RGBA', (40, 40), (0, 0, 0, 0)))
    (tmp_path/'dog'/'Thumbs.db').write_bytes(b'x')
    return tmp_path


def test_own_pictures_are_read_as_training_reads_them(files):
    from sotalearn.pictures import Picture
    for place in ('cat/2024/May/IMG_1.jpg', 'dog/a.png', 'dog/b.png'):
        expected = demo_pictures.square(Picture.create(files/place))
        for given in (files/place, str(files/place), (files/place).read_bytes(), open(files/place, 'rb'), Image.open(files/place)):
            (_, picture), = own_pictures(given, 1).items()
            assert torch.equal(demo_pictures.square(picture), expected), (place, type(given))


def test_a_demo_takes_a_folder_or_files_of_the_learners_own(files):
    for demo in (mixup_demo(files, language='en'), mixup_demo(language='en')):
        if 'church' in repr(demo): demo.use(files)
        assert 'A May and a dog blended' in repr(demo)
        assert np.asarray(demo.picture(t=1.)).mean() != np.asarray(demo.picture(t=0.)).mean()
    demo = mixup_demo([files/'dog'/'a.png', files/'dog'/'b.png'], language='en')
    assert 'A a and a b blended' in repr(demo)
    assert repr(normalization_demo(files, language='en')) != repr(normalization_demo(language='en'))
    before = repr(demo)
    for wrong, told in (([files/'dog'/'a.png'], 'pictures must be of two classes, got a'),
                        (files/'dog'/'Thumbs.db', 'cannot be read as a picture'), (files/'none', 'there is no such file'),
                        ([], 'pictures must be at least one')):
        with pytest.raises(ValueError, match=told): demo.use(wrong)
    assert repr(demo) == before and demo.spec['opened'] == 0           # a page made before knows that its pictures are old
    demo.use(files)
    assert demo.spec['opened'] == 1
    with pytest.raises(ValueError, match='this demo shows none'): make_bar('en').use(files)


def test_a_file_that_the_page_sends(files):
    demo, said = mixup_demo(language='en'), []
    demo.send = lambda content, buffers=None: said.append(content)
    data = [(files/place).read_bytes() for place in ('cat/2024/May/IMG_1.jpg', 'dog/a.png')]
    for at, one in enumerate(data): demo._handle_custom_msg({'open': '../../IMG.jpg', 'at': at, 'of': 2}, [memoryview(one)])
    assert said == [{'opened': True}] and 'A IMG and a IMG 2 blended' in repr(demo)
    for content, buffers, told in (
            ({'open': 'a.heic', 'at': 0, 'of': 1}, [b'no picture'], 'cannot be read as a picture'),
            ({'open': 'a.jpg', 'at': 0, 'of': 1}, [bytes(8_000_001)], "'a.jpg' must take at most 8 MB, got 8.0 MB"),
            ({'open': 'a.jpg', 'at': 0, 'of': 3}, [data[0]], 'files must be at most 2 here, got 3'),
            ({'open': 'a.jpg', 'at': 0, 'of': 1}, [data[0]], 'pictures must be of two classes'),
            *(({'open': 'a.jpg', 'at': 0, 'of': 1} | wrong, [data[0]], 'a file must come as') for wrong in (
                {'open': 7}, {'at': 1}, {'at': -1}, {'of': 'x'}, {'of': True}, {'at': None}, {'more': 1})),
            ({'open': 'a.jpg'}, [], 'a file must come as'), ({'open': 'a.jpg', 'at': 0, 'of': 1}, [], 'a file must come as')):
        said.clear()
        demo._handle_custom_msg(content, buffers)
        assert said[0]['opened'] is False and told in said[0]['error'], (content, said)
    assert 'A IMG and a IMG 2 blended' in repr(demo)
    make_bar('en')._handle_custom_msg({'open': 'a.jpg', 'at': 0, 'of': 1}, [data[0]])      # shows none: no more happens
    demo.close()


def test_pictures_of_any_size_and_mode():
    demo = mixup_demo(dict(cat=Image.new('L', (13, 200), 255), bear=Image.new('RGBA', (300, 20), (0, 0, 0, 255))), language='en', t=.25)
    assert demo.picture().getpixel((200, 650)) == (64, 64, 64)
    assert 'A cat and a bear blended: 0.25 of the cat' in repr(demo)


def test_the_numbers_in_words_are_those_of_the_functions():
    from sotalearn.normalization import channel_stats
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = channel_stats(x)
    assert f'red {mean[0]:.2f} and {std[0]:.2f}' in repr(normalization_demo(x, language='en'))
    assert 'red 0.00 and 1.00, green 0.00 and 1.00, blue 0.00 and 1.00' in repr(normalization_demo(x, language='en', statistics='batch'))


def test_no_figure_is_left_in_pyplot_and_memory_is_flat(request):
    "240 moves over as many pictures, in a process of its own; 5,000 with --thorough."
    moves, most = (5_000, 20) if request.config.getoption('--thorough') else (240, 12)
    program = '''
import psutil, sys
from sotalearn.demos.mixup import mixup_demo
import matplotlib.pyplot as plt
demo, process = mixup_demo(language='en'), psutil.Process()
demo.send = lambda *message: None
def move(i): demo._handle_custom_msg({'ask': {'t': i % 101/100}, 'density': 1 + i//10 % 2}, [])    # from two screens
for i in range(120): move(i)
before, files = process.memory_info().rss, process.num_fds()
for i in range(int(sys.argv[1])): move(i)
print((process.memory_info().rss - before)/2**20, process.num_fds() - files, len(plt.get_fignums()))
'''
    run = subprocess.run([sys.executable, '-c', program, str(moves)], capture_output=True, text=True,
                         env={**os.environ, 'OMP_NUM_THREADS': '1'})
    grown, files, figures = map(float, run.stdout.split())
    assert grown < most and files <= 0 and figures == 0, run.stdout + run.stderr


def test_cells_run_again_and_again_keep_few_figures():
    demos = [make_square() for _ in range(10)]
    for demo in demos: demo.picture()
    assert len(Demo._drawn) <= 6
    demos[0].picture(side=3)                       # a figure that was let go is drawn again
    for demo in demos: demo.close()


def test_cells_run_again_and_again_keep_neither_html_nor_pictures(monkeypatch):
    "IPython keeps each output of a kernel, and ipywidgets each widget."
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell()
    monkeypatch.setattr('IPython.get_ipython', lambda: shell)
    monkeypatch.setattr(base, '_MOST_BYTES', 20_000)
    made = shell.user_ns['made'] = [make_bar('en') for _ in range(6)]
    for i, demo in enumerate(made):
        demo.send = lambda *message: None
        for height in range(5): demo._handle_custom_msg({'ask': {'height': height}}, [])
        shell.run_cell(f'made[{i}]', store_history=True)
    kept = [output.bundle for outputs in shell.history_manager.outputs.values() for output in outputs]
    assert ['text/html' in bundle for bundle in kept] == [False]*5 + [True]
    assert sum(len(data) for data, _ in Demo._pictures.values()) <= 20_000
    for demo in made: demo.close()


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_a_stored_figure_speaks_one_language_and_gets_the_present_script(monkeypatch, language):
    "A notebook holds one picture that everybody can show; a learner's copy makes a live figure of it, in its language."
    monkeypatch.setenv('DEMO_LANGUAGES', 'en,zh')
    demo = make_bar('en')
    data, metadata = demo._repr_mimebundle_()
    assert set(data) in ({'text/plain', 'image/png'}, {'text/plain', 'image/jpeg'})
    assert data['text/plain'] == demo.alt() == metadata[next(kind for kind in data if 'image' in kind)]['alt']
    cell = nbformat.v4.new_code_cell('demo', outputs=[nbformat.v4.new_output('display_data', data=data, metadata=metadata)])
    output = in_language(nbformat.v4.new_notebook(cells=[cell]), language).cells[0].outputs[0]
    kind = next(kind for kind in output.data if 'image' in kind)
    script = Path(base.__file__).with_name('demo.js').read_text(encoding='utf-8').replace('</script', '<\\/script') + 'play();'
    html = output.data['text/html']
    assert html.startswith(f'<div lang="{language}" class="sotalearn-demo">') and html.count('<div lang') == 1
    assert html.count(script) == 1 and told(html)['spec']['language'] == language
    assert output.metadata == {kind: dict(alt=make_bar(language).alt(), width=demo.spec['size'][0])}
    picture = Image.open(io.BytesIO(base64.b64decode(output.data[kind])))
    assert picture.size == demo.picture().size
    demo.close()


# ------------------------------------------------------------------ the page


def test_what_a_frame_does_not_name_vanishes(square):
    assert np.asarray(square.picture(side=10)).mean() < 5
    assert np.asarray(square.picture(kind='nothing')).min() == 255
    assert np.asarray(square.picture(side=10)).mean() < 5


def test_without_words_of_its_own_a_page_tells_titles_bars_and_texts():
    page = Page(Layout('ab', (1, 1), (1,)), 'zh')
    def frame(page, share):
        page.bars('a', [share, 0, 1 - share], 'xyz', ['r', 'g', 'b'], page.say('target', '目标'))
        page.text('b', 'a text\nof two lines')
    page.fill(frame, dict(share=.25))
    assert page.words() == '目标；x 0.25, z 0.75；a text of two lines'


def test_where_no_font_has_the_characters_the_figure_is_english_and_its_words_are_chinese(monkeypatch):
    monkeypatch.setattr('sotalearn.demos.page.chinese_font', lambda: None)
    square = make_square('zh')
    assert square.picture() and square.alt() == '边长为 5 的正方形。'
    page, said = square._page(), []
    page.fill(lambda page: said.append(page.say('en', 'zh')), {})
    page.fill(lambda page: said.append(page.say('en', 'zh')), {}, tell_only=True)
    assert said == ['en', 'zh']


@pytest.mark.parametrize('name', DEMOS)
def test_a_picture_does_not_depend_on_those_before_it(name):
    "Drawn over a kept background after thirty others it is what a new demo draws at once, dot for dot."
    luck, used = random.Random(1), DEMOS[name](language='en')
    def anywhere(): return {control.name: luck.choice(control.stored_values()) for control in used.controls}
    for _ in range(30): used.picture(**anywhere())
    for values in (anywhere() for _ in range(4)):
        fresh = DEMOS[name](language='en')
        assert np.array_equal(np.asarray(used.picture(**values)), np.asarray(fresh.picture(**values))), values
        fresh.close()
    used.close()


# ------------------------------------------------------------------ the demos


@pytest.mark.parametrize('name', DEMOS)
def test_a_demo_is_one_function_of_a_screen(name):
    lines = len(inspect.getsource(DEMOS[name]).splitlines())
    assert lines <= (45 if name == 'resizing' else 30), lines


def test_the_alpha_demo_says_what_is_computed():
    from sotalearn.mixup import weight_facts
    demo = alpha_demo(language='en')
    for alpha in (.1, 1., 2.):
        mean, most = weight_facts(alpha)['mean'], 100*weight_facts(alpha)['above_90']
        assert demo.alt(alpha=alpha) == f'alpha {alpha:.1f}; mean weight {mean:.2f} (black line); {most:.0f} % above 0.9'
    demo.close()


def test_the_smoothing_demo_says_what_the_functions_compute():
    from sotalearn.smoothing import optimal_logit, smooth_labels
    demo, target = label_smoothing_demo(language='en', eps=.2, classes=5), smooth_labels([1], 5, .2)[0]
    assert f'5 classes, eps 0.20: the target is {target[1]:.3f} at class 1 and {target[0]:.3f} elsewhere' in repr(demo)
    least, best = torch.special.entr(target).sum(), optimal_logit(5, .2)
    assert f'lowest, {least:.3f}, where the logit of class 1 is {best:.3f} above' in repr(demo)
    assert 'falls without end' in demo.alt(eps=0) and '没有尽头' in label_smoothing_demo('zh', eps=0).alt()
    for values, note in ((dict(eps=.5), 'eps must be a number from 0 to 0.4, got 0.5'), (dict(classes=1), 'classes must be a number from 2 to 10, got 1')):
        assert label_smoothing_demo(language='en', **values).note == note
    demo.close()


def test_the_temperature_demo_says_what_the_functions_find():
    from sotalearn.smoothing import calibration, fit_temperature, temperature_scale
    probs, targets = torch.tensor([[.9, .1]]*4 + [[.2, .8]]*4), [0, 0, 0, 1, 1, 1, 0, 1]
    demo, best = temperature_demo(probs, targets, language='en'), fit_temperature(probs, targets)
    assert f'at T = {best:.2f}' in demo.alt() and 'says 85.0 %, is right 75.0 %, ECE 0.100' in demo.alt()
    scaled = temperature_scale(probs, 2)
    ece, says = calibration(scaled, targets)['ece'], scaled.max(dim=1).values.mean()
    assert f'Temperature 2.00: the model says {100*says:.1f} %, is right 75.0 %, ECE {ece:.3f}' in demo.alt(temperature=2)
    assert '温度 2.00：模型自称' in temperature_demo(probs, targets, 'zh').alt(temperature=2)
    demo.close()


def test_answers_that_cannot_be_judged_are_refused_in_the_demos_place():
    demo = temperature_demo(torch.eye(3), [0, 1], language='en')
    assert 'probs must have one row for each of the 2 targets, got 3' in repr(demo)
    demo.close()


def test_the_plan_follows_its_sliders():
    demo = resizing_demo(language='en')
    minutes = lambda **values: float(re.search(r'([\d.]+) minutes', demo.alt(**values))[1])
    assert demo.alt().startswith('3×64 + (1+1)×128: ')
    assert minutes(small_epochs=1) < minutes() < minutes(small=96) < minutes(small=96, large_epochs=3)
    assert demo.alt(small_epochs=0, large_epochs=2).startswith('2×128: ')        # nothing before: no epoch to settle in
    demo.close()


def test_without_measured_sides_the_plan_says_what_it_needs(monkeypatch):
    monkeypatch.setattr('sotalearn.resizing.timed_sides', dict)
    demo = resizing_demo(language='en')
    assert 'timings must hold at least two sizes, got none' in repr(demo)
    demo.close()


def test_photographs_are_shown_and_not_stored(monkeypatch):
    "White photographs in a live demo; the stored form and its alt texts are those of Toynette's pictures."
    white = dict(church=Image.new('RGB', (200, 150), 'white'), gas_pump=Image.new('RGB', (150, 200), 'white'))
    monkeypatch.setattr('sotalearn.demos.mixup.imagenette_pictures', lambda: white)
    demo, drawn = mixup_demo(language='en'), mixup_demo(('church', 'gas_pump'), language='en')
    assert np.asarray(demo.picture())[450:800, 50:450].min() == 255
    form, other = (told(o.html(['en'])) for o in (demo, drawn))
    assert form['spec']['stand_in'] and not other['spec']['stand_in'] and form['pictures'] == other['pictures']
    assert np.asarray(demo.picture())[450:800, 50:450].min() == 255
    for o in (demo, drawn): o.close()
