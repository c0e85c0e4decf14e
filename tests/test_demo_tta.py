"""The demo of test time augmentation, on a learner that never learned: what it says is arbitrary, but always the same."""
import inspect, json, re

import numpy as np
import pytest
from PIL import Image

from sotalearn.demos.page import Page
from sotalearn.demos.tta import tta_demo


@pytest.mark.parametrize('language, word', [('en', 'plain and 8 times augmented'), ('zh', '8 个增强视图')])
def test_it_speaks_and_is_small_enough_to_store(learn, measured, language, word):
    demo = tta_demo(learn, measured, language=language)
    assert word in demo.alt()
    html = demo.html(['en', 'zh'])
    assert len(html.encode()) < 1_500_000 and html.count('"alt"') == 2*2*16       # too large, and one picture would be left
    sizes = {demo.picture(**values).size for values in (dict(n=0), dict(n=8, how='max'), dict(beta=0.))}
    assert len(sizes) == 1
    demo.close()


def test_it_follows_its_controls(learn, measured):
    demo = tta_demo(learn, measured, language='en')
    assert 'plain and 0 times augmented' in demo.alt(n=0) and demo.alt(n=0) != demo.alt(n=8)
    demo.beta = .7
    assert 'beta must be a number from 0' in demo.note and demo.beta == .25
    for values in (dict(n=3), dict(n=8, how='max'), dict(n=0), dict(n=5, beta=.5)):
        fresh = Page(demo._layout, 'en')
        fresh.fill(demo._frame, {**demo.values, **values})
        assert np.array_equal(np.asarray(demo.picture(**values)), np.asarray(fresh.image(2)))
    demo.close()


def test_labels_hold_wherever_the_controls_stand(learn, measured):
    "A label tells of the plain view alone, which is what the demo answers with at n = 0; it begins as the text says."
    demo = tta_demo(learn, measured, language='en')
    labels = next(control for control in demo.controls if control.name == 'image').options
    for kind, (label, _) in labels.items():
        name, told = label.split(': plain view ')
        assert (f'the answer is {name}.' in demo.alt(image=kind, n=0)) == (told == 'right')
        if kind in ('mended', 'spoilt'): assert (f'the answer is {name}.' in demo.alt(image=kind)) == (kind == 'mended')
    demo.close()


def test_without_a_learner_one_is_trained(learn, measured, monkeypatch):
    monkeypatch.setattr('sotalearn.demos.tta._quick_learner', lambda: learn)
    assert 'On all 18 pictures' in repr(tta_demo(language='en'))


def test_photographs_of_imagenette_are_not_stored(learn, measured, monkeypatch):
    "Where the pictures stood, the stored page is of one grey; the live one and its words stay as they were."
    monkeypatch.setattr('sotalearn.demos.tta.is_imagenette', lambda path: True)
    demo = tta_demo(learn, measured, language='en')
    def views(**which): return np.asarray(demo._drawing(demo.values, 2, **which))[80:150, 350:450]
    assert views(stored=True).std() < 1 < views().std()
    form = json.loads(re.search(r'<script type="application/json">(.*?)</script>', demo.html(['en']), re.S)[1])
    assert form['spec']['stand_in'] and form['pictures'][demo.name_of(**demo.values)]['alt'] == demo.alt()
    assert views().std() > 1
    demo.close()


def test_it_is_one_function_of_a_screen(): assert len(inspect.getsource(tta_demo).splitlines()) <= 45


def test_it_takes_pictures_of_the_learners_own(learn, measured, tmp_path):
    "Read as training reads them; named as a class, they are of it; what cannot be read changes nothing."
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 60, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6                                                    # a phone held upright
    turned, wide, clear, broken = (tmp_path/name for name in ('a.jpg', 'my cat.png', 'clear.png', 'x.heic'))
    picture.save(turned, exif=exif)
    Image.fromarray(np.full((30, 50), 40_000, np.uint16)).save(wide)                   # 16 bit
    Image.new('RGBA', (40, 40), (0, 0, 0, 0)).save(clear)
    broken.write_bytes(b'\0\0\0\x18ftypheic' + bytes(40))
    demo = tta_demo(learn, measured, language='en')
    said = [option['label'] for option in demo.spec['controls'][0]['options']]
    assert all('plain view' in label for label in said) and demo.spec['own'] == 2
    with pytest.raises(ValueError, match='HEIC.*pillow-heif'): demo.use(broken)
    assert [option['label'] for option in demo.spec['controls'][0]['options']] == said
    demo.image = [*demo.controls[0].options][1]
    demo.use([turned, wide])
    assert [option['label'] for option in demo.spec['controls'][0]['options']] == ['a', 'my cat']
    first, second = demo.controls[0].options
    assert demo.image == first and demo.alt(image=first).startswith('A a, plain')       # the class a
    assert demo.alt(image=second).startswith('A picture of your own, plain')
    demo.use(clear)                                                     # one alone: the other option is gone
    assert [option['label'] for option in demo.spec['controls'][0]['options']] == ['clear']
    assert demo.alt(image=first) == demo.alt(image=second)
    demo.close()
    given = tta_demo(learn, measured, {'a': picture}, language='zh')
    assert given.alt().startswith('a：')
    given.close()
    with pytest.raises(ValueError, match='there is no such file'): tta_demo(pictures=tmp_path/'none.jpg')
