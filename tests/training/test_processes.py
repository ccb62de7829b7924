"""Two processes do what one does: the same steps, the same numbers, one file; and they say who failed."""

import os
import shutil
import signal

import pytest
import together_cases
import torch
from together import job, run_together

from course_utils.data.processes import (
    all_or_none,
    count,
    everybodys,
    from_first,
    in_turn,
    is_first,
    progress_bar_options,
    sums,
)

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
        "1": job("everything", folder / "1", 1),
        "2": job("everything", folder / "2", 2),
        "killed": job("resumed", folder / "run", 2, KILL="1"),
        "kept": job("keep_a_copy", folder / "run", 1),
        "resumed": job("resumed", folder / "run", 2),
    }
    return folder, dict(zip(jobs, run_together(*jobs.values()), strict=True))


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


@pytest.mark.parametrize("case", ["25 images in batches of 8", "in three parts each", "a last batch of one"])
def test_two_processes_learn_what_one_does(found, case):
    one, two = (found[processes]["learning"][case] for processes in (1, 2))
    assert_same(one, two)
    assert two["weights"]["norm.num_batches_tracked"] == one["weights"]["norm.num_batches_tracked"]


def test_a_network_that_lies_in_parts_learns_the_same(found):
    assert_same(found[1]["in_parts"], found[2]["in_parts"])
    assert not torch.equal(
        found[2]["in_parts"]["weights"]["conv.weight"], together_cases.small_network().conv.weight
    )


def test_frozen_features_give_exactly_the_same_test_accuracy(found):
    one, two = (found[processes]["frozen"] for processes in (1, 2))
    assert one["correct"] == two["correct"] > len(one["labels"]) / 2
    assert one["val"] == two["val"]
    assert torch.equal(one["labels"], two["labels"])  # each image once, in order
    torch.testing.assert_close(one["probabilities"], two["probabilities"])


def test_a_full_disk_on_process_1_stops_both_and_names_it(found):
    told = found[2]["shards"]["told"]
    assert len(told) == 2 and told[0] == told[1]
    assert "where:    process 1 of 2: " in told[0] and "No space left on device" in told[0]


def test_shards_that_were_kept_are_not_computed_again(found):
    two = found[2]["shards"]
    assert two["kept at first"] == [1, 1]  # that of process 0; the store is shared
    assert two["computed afterwards"] == [[], [47]]
    assert two["kept"] == [2, 2]


@pytest.mark.parametrize("processes", [1, 2])
def test_shards_are_put_together_in_order(found, processes):
    assert found[processes]["shards"]["same"] == [True, True]
    assert found[processes]["shards"]["head is there"]


def test_one_process_goes_on_when_its_disk_is_full(found):
    assert found[1]["shards"]["told"] == [""]
    assert found[1]["shards"]["computed afterwards"] == [[2000]]


def test_sums_and_files_are_agreed_upon(found):
    two = found[2]["agreement"]
    assert two["sums"] == [(3.0, pytest.approx(0.2))] * 2
    assert two["from first"] == [("folder", 0)] * 2


def test_an_error_on_one_process_is_told_by_both(found):
    first, last = found[2]["agreement"]["told"]
    assert first == last
    for place, message in enumerate(first):
        assert f"process {place} of 2: " in message and f"ValueError: a fault on {place}" in message


def test_a_killed_process_is_named(runs):
    first, last = runs[1]["killed"]
    assert last.code == -signal.SIGKILL
    assert first.code == 2
    assert "A process was lost" in first.said and "process 1 of 2" in first.said


def test_the_run_goes_on_to_the_same_weights(runs, found):
    folder, ended = runs
    assert [process.code for process in ended["resumed"]] == [0, 0], ended["resumed"]
    whole = found[2]["learning"]["25 images in batches of 8"]
    resumed = torch.load(folder / "run" / "resumed_2.pt", weights_only=True)
    assert resumed["history"] == whole["history"]
    for name, weight in whole["weights"].items():
        assert torch.equal(weight, resumed["weights"][name]), name


def test_one_process_can_go_on_with_a_run_of_two(runs, found, tmp_path, in_float32):
    shutil.copy(runs[0] / "run" / "copy.pt", tmp_path / "training.pt")
    resumed = together_cases.resumed(tmp_path)
    assert len(resumed["history"]) == 3
    assert_same(found[1]["learning"]["25 images in batches of 8"], resumed)


def test_alone_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert (count(), is_first(), progress_bar_options()) == (1, True, {})
    assert sums(1, 2.5) == (1, 2.5)
    assert everybodys("a") == ["a"]
    assert from_first(lambda: 7) == 7
    assert list(in_turn({0: ["x"], 1: ["y"]}, 2)) == [["x"], ["y"]]
    with pytest.raises(ZeroDivisionError), all_or_none():
        raise ZeroDivisionError
