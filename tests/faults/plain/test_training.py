"""Faults 26 to 35: what plain PyTorch makes of them. The course's half: tests/training and tests/faults."""

import copy
import math
import os
import pickle
import subprocess
import sys

import pytest
import torch
from small_networks import Pictures, norm_net, same, state
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models

from course_utils.errors import CourseError, DataError

pytestmark = pytest.mark.kernels


@pytest.fixture
def model():
    torch.manual_seed(0)
    return norm_net()


def plain_loop(model, dataset, lr=0.01, epochs=1):
    """Train as tutorials do; return the loss of the last batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in DataLoader(dataset, 8):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model.train()(images), labels)
            loss.backward()
            optimizer.step()
    return loss.item()


def test_fault_26_head_under_a_name_that_is_never_called():
    network = models.resnet18()
    network.classifier = nn.Linear(512, 3)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_fault_26_head_for_1000_classes_learns_3_without_a_word():
    assert math.isfinite(plain_loop(norm_net(classes=1000), Pictures(24)))


def test_fault_26_misspelled_requires_grad_freezes_nothing(model):
    for parameter in model.parameters():
        parameter.require_grad = False
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_fault_26_optimizer_that_was_built_before_the_head(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.fc = nn.Linear(8, 3)
    before = state(model)
    nn.functional.cross_entropy(model(Pictures(8).images), torch.tensor([0, 1] * 4)).backward()
    optimizer.step()
    assert torch.equal(model.fc.weight, before["fc.weight"])  # the new head learns nothing


@pytest.mark.parametrize("label", [10, -1, -100])
def test_fault_28_labels_that_are_no_classes(model, label):
    dataset = Pictures(24)
    dataset.targets[5] = label
    if label == -100:  # is ignored without a word
        assert math.isfinite(plain_loop(model, dataset))
        return
    with pytest.raises(IndexError, match=f"Target {label} is out of bounds") as caught:
        plain_loop(model, dataset)  # on a graphics card the process dies of it
    assert "sample" not in str(caught.value)


def test_fault_29_nan(model):
    assert math.isnan(plain_loop(norm_net(), Pictures(24), lr=1e30, epochs=3))
    dataset = Pictures(24)
    dataset.images[11, 0, 0, 0] = float("nan")
    plain_loop(model, dataset)
    assert model.norm.running_mean.isnan().any()


def test_fault_30_last_batch_of_one(model):
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        plain_loop(model, Pictures(9))


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_fault_31_extra_processes():
    dataset = Pictures(8, change=lambda read, image: image)  # a lambda does not pickle
    with pytest.raises((AttributeError, pickle.PicklingError)):
        next(iter(DataLoader(dataset, 4, num_workers=1, multiprocessing_context="spawn")))

    def fail(read, image):
        raise DataError("A picture.", where="/pets/cat/1.png", expected="a", found="b", do="c")

    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(Pictures(8, change=fail), 4, num_workers=1))
    assert not isinstance(caught.value, CourseError)


def test_fault_32_ctrl_c_in_mid_epoch(model):
    def interrupt(read, image):
        if read == 20:
            raise KeyboardInterrupt
        return image

    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        plain_loop(model, Pictures(24, change=interrupt))
    assert model.training and not same(state(model), before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
def test_fault_33_disk_that_is_full_costs_the_only_checkpoint(tmp_path):
    import resource

    path, old_limit = tmp_path / "plain.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    torch.save(torch.zeros(5000), path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old_limit[1]))
    try:
        with pytest.raises((RuntimeError, OSError)):
            torch.save(torch.ones(5000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
    with pytest.raises(RuntimeError):
        torch.load(path, weights_only=True)


KILLED = """
import os, signal, sys, torch
class Dies:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)
torch.save({"first": torch.zeros(100_000), "second": Dies()}, sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_fault_33_process_that_is_killed_costs_the_only_checkpoint(tmp_path):
    path = tmp_path / "plain.pt"
    torch.save({"first": torch.zeros(3)}, path)
    # torch.save has opened the final name before it knows what it will write.
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, str(path)], timeout=1800)
    assert killed.returncode == -9
    with pytest.raises((RuntimeError, EOFError)):
        torch.load(path, weights_only=True)


def test_fault_35_strict_false_loads_nothing_without_a_word(model):
    wrapped, before = nn.DataParallel(copy.deepcopy(model)), state(model)
    nn.init.ones_(wrapped.module.fc.weight)
    model.load_state_dict(wrapped.state_dict(), strict=False)  # no exception, and no weight
    assert same(state(model), before)
