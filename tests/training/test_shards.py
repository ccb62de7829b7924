"""A data set in shards is the same data set; what is missing of it is found, and made once."""

import pytest
import torch
from small_networks import Pictures
from torchvision.models import get_model
from torchvision.transforms import v2

from course_utils.data.loaders import labels_of
from course_utils.data.preprocessing import ImageClassification
from course_utils.data.splits import load_splits
from course_utils.settings import Settings
from course_utils.training import feature_cache as feature_store
from course_utils.training import inference, shards
from course_utils.training.feature_cache import cached_features, list_cache
from course_utils.training.features import extract_features
from course_utils.training.shards import cut, joined, put_together, shards_of


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 8)


@pytest.fixture
def clothes(small_shards, monkeypatch):
    """45 pictures in shards of 8, four at once."""
    monkeypatch.setitem(inference.PIXELS, "cpu", 4 * 16 * 16)
    usual = v2.Compose([v2.RGB(), ImageClassification(crop_size=16, resize_size=16)])
    return load_splits(Settings(images_per_class=9, val_fraction=0.5), usual).train


@pytest.fixture
def model():
    torch.manual_seed(0)
    return get_model("resnet18", num_classes=2)


@pytest.mark.parametrize(
    ("images", "batch", "sizes"),
    [(8, 4, [8]), (9, 4, [8, 1]), (20, 3, [6, 6, 6, 2]), (30, 12, [12, 12, 6]), (1, 4, [1])],
)
def test_a_shard_is_a_whole_number_of_batches(small_shards, images, batch, sizes):
    assert [len(shard) for shard in shards_of(Pictures(images), batch)] == sizes


def test_shards_put_together_are_the_data_set(small_shards):
    dataset = Pictures(20)
    found = shards_of(dataset, 3)
    assert labels_of(joined(found)).tolist() == dataset.targets
    assert labels_of(joined(found[1:3])).tolist() == dataset.targets[6:18]
    assert joined(shards_of(dataset, 20)) is dataset


def test_batches_are_cut_into_shards_one_after_the_other():
    taken = []

    def batches():
        for start in range(0, 10, 2):
            taken.append(start)
            yield torch.arange(start, start + 2), torch.zeros(2)

    made = cut(batches(), [4, 4, 2])
    first, _ = next(made)
    assert first.tolist() == [0, 1, 2, 3] and taken == [0, 2]
    assert [tensors[0].tolist() for tensors in made] == [[4, 5, 6, 7], [8, 9]]


def test_alone_every_shard_is_ones_own():
    assert [t.tolist() for t in put_together({0: [torch.ones(1)], 1: [torch.zeros(2)]}, 2)] == [[1, 0, 0]]


def test_features_in_shards_are_those_in_one_go_to_the_bit(model, clothes):
    expected = extract_features(model, clothes).tensors
    found = cached_features(model, clothes).tensors
    assert len(list_cache()) == 6
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype


def test_a_shard_that_is_missing_is_computed_and_no_other(model, clothes, monkeypatch):
    expected = cached_features(model, clothes).tensors
    lost = sorted(list_cache())[1].path
    lost.unlink()
    computed, real = [], feature_store.feature_batches

    def spy(model, dataset, **options):
        computed.append(len(dataset))
        return real(model, dataset, **options)

    monkeypatch.setattr(feature_store, "feature_batches", spy)
    found = cached_features(model, clothes).tensors
    assert computed in ([8], [5])
    assert lost.exists()
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


def test_what_was_made_before_an_interruption_is_kept(model, clothes, monkeypatch):
    real = feature_store.feature_batches

    def interrupted(model, dataset, **options):
        for number, batch in enumerate(real(model, dataset, **options)):
            if number == 5:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(feature_store, "feature_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_features(model, clothes)
    assert len(list_cache()) == 2
    assert isinstance(model.fc, torch.nn.Linear)


def test_shards_that_have_no_room_together_are_not_kept(model, clothes, monkeypatch):
    monkeypatch.setenv("COURSE_FEATURES_GB", "0.00003")  # for about half of them
    assert len(cached_features(model, clothes)) == 45
    assert list_cache() == []
