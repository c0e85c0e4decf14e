"""Saved models: nothing overwritten unasked, nothing run from a stranger's file."""
import os
import pickle

import pytest

from sotalearn.models import load_model, save_model
from sotalearn.recipes import Recipe

training = pytest.importorskip('sotalearn.training')


@pytest.fixture(scope='module')
def learn(toynette_of):
    "A learner that was not trained: whether a model is saved well does not depend on what it knows."
    return training.make_learner(Recipe(dataset=str(toynette_of(8, 2)), size=32, bs=16))


def test_saving_never_overwrites_unasked(learn, tmp_path):
    file = save_model(learn, tmp_path/'model')
    file.write_bytes(b'last night')
    with pytest.raises(ValueError, match='which exists'): save_model(learn, tmp_path/'model.safetensors')
    assert file.read_bytes() == b'last night' and list(tmp_path.iterdir()) == [file]
    assert save_model(learn, file, overwrite=True) == file and load_model(file).size == 32


def test_a_learner_of_unknown_architecture_is_asked_for_it(learn, tmp_path):
    unknown = training.Learner(learn.dls, learn.model, loss_func=learn.loss_func)
    with pytest.raises(ValueError, match='arch must be one of xresnet18'): save_model(unknown, tmp_path/'model')
    assert not list(tmp_path.iterdir())
    assert load_model(save_model(unknown, tmp_path/'model', arch='xresnet18')).arch == 'xresnet18'


def test_what_could_not_be_loaded_is_not_saved(learn, tmp_path):
    import torch
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="arch must be that of learn.model, got 'xresnet34', whose weights have other names"):
        save_model(learn, tmp_path/'model', arch='xresnet34')
    assert not list(tmp_path.iterdir()) and torch.equal(torch.get_rng_state(), state)


def test_a_learner_of_several_labels_is_not_saved_as_one_of_classes(learn, tmp_path):
    from fastai.vision.all import BCEWithLogitsLossFlat, DataBlock, ImageBlock, MultiCategoryBlock, get_image_files
    from fastai.vision.all import IntToFloatTensor, Normalize, Resize
    block = DataBlock((ImageBlock, MultiCategoryBlock), get_items=get_image_files, get_y=lambda path: [path.parent.name, 'picture'],
                      item_tfms=Resize(32), batch_tfms=Normalize.from_stats([.5]*3, [.2]*3))
    dls = block.dataloaders(learn.dls.path if learn.dls.path.is_dir() else learn.recipe.dataset, bs=4, num_workers=0)
    model = training.make_model('xresnet18', len(dls.vocab))
    several = training.Learner(dls, model, loss_func=BCEWithLogitsLossFlat())
    with pytest.raises(ValueError, match=r'learn must tell one class for each picture, got targets of shape \(4, 11\)'):
        save_model(several, tmp_path/'model', arch='xresnet18')
    assert not list(tmp_path.iterdir())


class Harm:
    "Makes a folder when it is unpickled."

    def __init__(self, folder): self.folder = folder

    def __reduce__(self): return os.mkdir, (self.folder,)


def test_nothing_in_a_strangers_file_is_run(tmp_path):
    file = tmp_path/'model.safetensors'
    file.write_bytes(pickle.dumps(Harm(str(tmp_path/'harm'))))
    with pytest.raises(ValueError, match='path must be a safetensors file'): load_model(file)
    assert not (tmp_path/'harm').exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path/'harm').exists()           # the file was a harmful one
