"""How an interrupted run goes on where it stopped, and which files it refuses to go on from."""

import pytest
import torch
from damaged_files import DAMAGES, MakesAFolder
from small_networks import Pictures, same, seeded_net, some_settings, state

from course_utils.errors import CheckpointError
from course_utils.training import loop as training
from course_utils.training.loop import fit


def run(model, checkpoint=None, classes=("cat", "dog", "ship"), **values):
    train, val = Pictures(25), Pictures(9, seed=2)
    train.classes = val.classes = list(classes)
    return fit(model, train, val, some_settings(**{"epochs": 4, "lr": 0.05, **values}), checkpoint)


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "thawed"])
def test_best_epoch_before_the_interruption_is_still_the_best(tmp_path, monkeypatch, is_frozen):
    losses, seen = iter([0.1, 0.4, KeyboardInterrupt, 0.3, 0.2]), []

    def pretend(network, loader, accelerator):
        seen.append(state(network))
        loss = next(losses)
        if loss is KeyboardInterrupt:
            raise loss
        return loss, 0.5

    monkeypatch.setattr(training, "evaluate_loss", pretend)
    assert run(seeded_net(is_frozen), tmp_path / "run.pt").interrupted
    model = seeded_net(is_frozen)
    assert run(model, tmp_path / "run.pt").best.epoch == 1
    assert same((model.fc if is_frozen else model).state_dict(), seen[0])


def test_finished_run_is_given_back_without_training(tmp_path, monkeypatch):
    first = seeded_net()
    expected = run(first, tmp_path / "run.pt").to_frame()
    monkeypatch.setattr(training, "train_one_epoch", None)
    again = seeded_net()
    assert run(again, tmp_path / "run.pt").to_frame().equals(expected)
    assert same(again.state_dict(), first.state_dict())


@pytest.mark.parametrize(
    "name, saved_with, asked_for",
    [
        ("lr", 0.05, 0.01),
        ("classes", ["cat", "dog", "ship"], ["cat", "ship", "dog"]),
    ],
)
def test_run_with_other_settings_or_classes_is_refused_with_the_difference(
    tmp_path, refused, name, saved_with, asked_for
):
    run(seeded_net(), tmp_path / "run.pt")
    content = (tmp_path / "run.pt").read_bytes()
    model = seeded_net()
    before = state(model)
    with refused(CheckpointError, where=tmp_path / "run.pt") as caught:
        run(model, tmp_path / "run.pt", **{name: asked_for})
    assert caught.value.expected == f"{name}={asked_for!r}"
    assert caught.value.found == f"{name}={saved_with!r}"
    assert (tmp_path / "run.pt").read_bytes() == content
    assert same(state(model), before)


@pytest.mark.parametrize("damage", ["another tool's", "no dictionary", *list(DAMAGES)[1:]])
def test_file_that_is_no_whole_training_state_is_an_error(tmp_path, refused, damage):
    path = tmp_path / "run.pt"
    run(seeded_net(), path)
    if damage == "another tool's":
        torch.save({"weight": torch.zeros(3)}, path)
    elif damage == "no dictionary":
        torch.save([1, 2, 3], path)
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    content = path.read_bytes()
    with refused(CheckpointError, where=path):
        run(seeded_net(), path)
    assert path.read_bytes() == content


def test_malicious_training_state_is_refused_and_nothing_in_it_runs(tmp_path, refused):
    torch.save({"identity": MakesAFolder(tmp_path / "made by the attack")}, tmp_path / "run.pt")
    with refused(CheckpointError):
        run(seeded_net(), tmp_path / "run.pt")
    assert not (tmp_path / "made by the attack").exists()
    torch.load(tmp_path / "run.pt", weights_only=False)  # it would have worked
    assert (tmp_path / "made by the attack").exists()
