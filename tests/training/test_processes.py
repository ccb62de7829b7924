"""Two processes do what one does: the same steps, the same numbers, one file."""

import os
import shutil
import signal

import pytest
import together
import torch

from course_utils.training.acceleration import num_processes, run_on_main

pytestmark = pytest.mark.kernels
TOLERANCE = 2e-5
"""How far two weights may be apart, of which the largest are near 1: sums of float32 in another order."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All that is run on several processes: how they ended, and the folder in which they wrote."""
    if not hasattr(os, "fork"):
        pytest.skip("no running process can be copied here")
    folder = tmp_path_factory.mktemp("runs")
    jobs = {
        "1": together.job("everything", folder / "1", 1),
        "2": together.job("everything", folder / "2", 2),
        "killed": together.job("resumed", folder / "run", 2, KILL="1"),
        "kept": together.job("keep_a_copy", folder / "run", 1),
        "resumed": together.job("resumed", folder / "run", 2),
    }
    return folder, dict(zip(jobs, together.run_together(*jobs.values()), strict=True))


@pytest.fixture(scope="module")
def found(runs):
    """What all cases give on one process, and on two."""
    folder, ended = runs
    for processes in (1, 2):
        assert [process.code for process in ended[str(processes)]] == [0] * processes, ended[str(processes)]
        assert len(list((folder / str(processes)).glob("*.pt"))) == 1  # one writes
    files = {processes: folder / str(processes) / f"everything_{processes}.pt" for processes in (1, 2)}
    return {processes: torch.load(file, weights_only=True) for processes, file in files.items()}


def assert_same(one, other):
    for name, weight in one["weights"].items():
        torch.testing.assert_close(other["weights"][name], weight, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(
        torch.tensor(other["history"]), torch.tensor(one["history"]), atol=1e-5, rtol=0
    )
    assert one["accuracy"] == other["accuracy"]


@pytest.mark.parametrize("case", ["24 images in batches of 8", "a frozen network, image by image"])
def test_two_processes_learn_what_one_does(found, case):
    assert_same(*(found[processes]["learning"][case] for processes in (1, 2)))


def test_frozen_features_give_the_same_head_to_the_bit(found):
    one, two = (found[processes]["frozen"] for processes in (1, 2))
    assert all(torch.equal(one["weights"][name], two["weights"][name]) for name in one["weights"])
    assert one["correct"] == two["correct"] > len(one["labels"]) / 2
    assert one["val"] == two["val"]
    assert torch.equal(one["labels"], two["labels"])  # each image once, in order
    torch.testing.assert_close(one["probabilities"], two["probabilities"])


def test_shared_features_are_those_of_one_process(found):
    assert torch.equal(*(found[processes]["features"] for processes in (1, 2)))


def test_a_killed_process_stops_the_others(runs):
    first, last = runs[1]["killed"]
    assert last.code == -signal.SIGKILL
    assert first.code == 1 and "RuntimeError" in first.said


def test_the_run_goes_on_to_the_same_weights(runs, found):
    folder, ended = runs
    assert [process.code for process in ended["resumed"]] == [0, 0], ended["resumed"]
    whole = found[2]["learning"]["24 images in batches of 8"]
    resumed = torch.load(folder / "run" / "resumed_2.pt", weights_only=True)
    assert resumed["history"] == whole["history"]
    for name, weight in whole["weights"].items():
        assert torch.equal(weight, resumed["weights"][name]), name


def test_one_process_can_go_on_with_a_run_of_two(runs, found, tmp_path, in_float32):
    shutil.copy(runs[0] / "run" / "copy.pt", tmp_path / "training.pt")
    resumed = together.resumed(tmp_path)
    assert len(resumed["history"]) == 3
    assert_same(found[1]["learning"]["24 images in batches of 8"], resumed)


def test_one_process_sends_nothing():
    assert num_processes() == 1
    assert run_on_main(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_on_main(lambda: 1 / 0)
