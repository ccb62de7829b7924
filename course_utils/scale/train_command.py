"""The train command: one whole training run without a notebook, on one process or on many.

The same steps as in the lessons: data, network, head, freeze or thaw, `fit`, `evaluate`. What comes out lies
in one folder: the weights, the training state from which an interrupted run goes on, and `results.json`.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

from course_utils.data.contents import copies_of, run_contents
from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.errors import ConfigError, CourseError, TrainingError, printable
from course_utils.evaluation.metrics import Evaluation, accuracy_interval, evaluate, per_class
from course_utils.files import check_room, not_written, write_atomically
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import freeze, replace_head, thaw, trainable_parameters
from course_utils.models.saving import save_model
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.acceleration import fastest_dtype, num_processes, process_state, run_on_main
from course_utils.training.loop import fit

STATE, MODEL, RESULTS = "training.pt", "model.safetensors", "results.json"


def train_run(settings: Settings, output: str | Path, part: str = "head") -> dict:
    """Train a network, test it, and write what came out. An unfinished run in `output` goes on.

    If several processes were launched, every one calls this; they share the work, and the first one writes.

    Args:
        settings: What to train on, with which network, and how.
        output: A folder for `training.pt`, `model.safetensors` and `results.json`. The last two are written
            when all is done, and never over a file that is there.
        part: What is trained: "head", "all", or the name of a stage, such as "layer4", for it and all above.

    Returns:
        What is in `results.json`; at once, if this run was finished before.

    Raises:
        CourseError: If anything fails. Of several processes, the message names the one that failed.
        KeyboardInterrupt: At Ctrl-C; it says what is kept.
    """
    try:
        return _train_run(settings, Path(output).resolve(), part)
    except (CourseError, RuntimeError) as error:
        if num_processes() == 1:
            raise
        place = f"process {process_state().process_index} of {num_processes()}"
        if isinstance(error, CourseError):
            raise error.within(place) from error
        if not any(word in str(error).lower() for word in ("gloo", "nccl", "connection", "socket")):
            raise
        raise TrainingError(
            "Another process died, so this one has stopped.",
            where=place,
            expected="an answer from every process",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do="The launcher names the process that was lost. Look for what ended it (often too little "
            "memory), and start again with the same command: it goes on from the last checkpoint.",
        ) from error


def _train_run(settings: Settings, output: Path, part: str) -> dict:
    set_seed(settings.seed)
    started = time.perf_counter()
    weights = backbone_weights(settings)
    transform = Preprocessing.from_weights(weights, settings.image_size).transform()
    splits, model = load_splits(settings, transform), load_backbone(weights)
    replace_head(model, len(splits.classes))
    choose_part(model, part)
    with _own_folder(output):
        contents = run_contents(settings, train=splits.train, val=splits.val, test=splits.test)
        if finished := run_on_main(lambda: _finished(output, settings, part, contents)):
            return finished
        run_on_main(lambda: check_room(output, _more_bytes(output, model, part)))
        history = fit(model, splits.train, splits.val, settings, checkpoint=output / STATE)
        if history.interrupted:
            done = f"{len(history.epochs)} of {settings.epochs} epochs are finished"
            raise KeyboardInterrupt(f"Interrupted: {done}, and nothing was tested.")
        fitted = time.perf_counter()
        result = evaluate(model, splits.test, num_workers=settings.num_workers)
        device = next(model.parameters()).device
        is_own = settings.dataset.startswith("folder:")  # what ships has no copies
        copies = copies_of([splits.train, splits.val], splits.test) if is_own else []
        facts = {
            "settings": settings.model_dump(),
            "contents": contents,
            "trained": part,
            "processes": num_processes(),
            "threads": torch.get_num_threads(),
            "device": device.type,
            "precision": str(fastest_dtype(device)).removeprefix("torch."),
            "images": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
            "epochs": [asdict(epoch) for epoch in history.epochs],
            "best_epoch": history.best.epoch,
            "test": {**_tested(result), "copies": copies},
            "seconds": {"fit": fitted - started, "evaluate": time.perf_counter() - fitted},
        }
        names = {"backbone": settings.backbone, "classes": splits.classes, "image_size": settings.image_size}
        run_on_main(lambda: _write(output, model, facts, transform=transform, **names))
    return facts


def _tested(result: Evaluation) -> dict:
    """Return what `results.json` says of the test; the recall of a class without a test image is None."""
    images, recall = result.labels.bincount(minlength=len(result.classes)).tolist(), per_class(result).recall
    largest = max(range(len(images)), key=images.__getitem__)
    return {
        "correct": result.correct,
        "accuracy": result.accuracy,
        "interval_95": [*accuracy_interval(result.correct, len(result.labels))],
        "baseline": {"class": result.classes[largest], "accuracy": images[largest] / sum(images)},
        "recall": {
            name: float(share) if count else None
            for name, share, count in zip(result.classes, recall, images, strict=True)
        },
    }


@contextmanager
def _own_folder(output: Path) -> Iterator[None]:
    """Make the folder of a run, or go on in it, with no other run in it meanwhile."""
    lock = FileLock(output / ".lock")
    run_on_main(lambda: _take(lock, output))
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows does not remove what is open
                Path(lock.lock_file).unlink()
        lock.release()


def _take(lock: FileLock, output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        do = "Wait until it has ended, or choose another folder with --output."
        raise _not_here(output, "no other run in this folder", "one that is under way", do) from error
    except (OSError, NotImplementedError) as error:
        raise not_written(output, error) from error


def _finished(output: Path, settings: Settings, part: str, contents: dict[str, str]) -> dict | None:
    """Return the results of the same run if they are here already; refuse to go on over those of another."""
    there = [name for name in (MODEL, RESULTS) if (output / name).exists()]
    if not there:
        return None
    wanted = {**settings.model_dump(exclude={"device", "num_workers"}), "part": part, **contents}
    saved = {}
    try:
        facts = json.loads((output / RESULTS).read_text(encoding="utf-8"))
        saved = {**facts["settings"], "part": facts["trained"], **facts["contents"]}
        different = [name for name in wanted if saved.get(name) != wanted[name]]
        if len(there) == 2 and not different and summarise_run(facts):
            print("This run was finished before, and is left as it is:")
            return facts
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not written by a run
        different = []
    words = ", ".join(f"{name}={saved.get(name)!r} instead of {wanted[name]!r}" for name in different)
    found = f"{' and '.join(there)}, not of this run" + (f" ({words})" if words else "")
    raise _not_here(output, "a new folder, or that of an unfinished run with the same settings", found)


MOVE_FILES_AWAY = (
    "Choose another folder with --output. Or move all files of this folder away to train anew, or all but "
    f"{STATE} if these were written by something else than the same run."
)


def _not_here(output: Path, expected: str, found: str, do: str = MOVE_FILES_AWAY) -> ConfigError:
    return ConfigError(
        "A network cannot be trained into this folder.", where=output, expected=expected, found=found, do=do
    )


def _more_bytes(output: Path, model: nn.Module, part: str) -> int:
    """Return how much more a run needs on the disk: two training states, while one replaces the other."""
    whole = sum(tensor.nbytes for tensor in model.state_dict().values())
    trained = sum(parameter.nbytes for parameter in trainable_parameters(model))
    kept = trained if part == "head" else whole
    state = 2 * kept + 2 * trained  # as it is and as it was best, and two numbers of Adam for each
    there = (output / STATE).stat().st_size if (output / STATE).exists() else 0
    return 2 * state + whole + 2_000_000 - there  # names, shapes and results take the two million


def choose_part(model: nn.Module, part: str) -> None:
    """Freeze a network but for its head, and for what `part` names: see `train_run`."""
    freeze(model)
    if part == "all":
        model.requires_grad_(True)
    elif part != "head":
        thaw(model, down_to=part)


def _write(output: Path, model: nn.Module, facts: dict, **card: object) -> None:
    """Write the model and the results: both, or none."""
    for name in (MODEL, RESULTS):
        if (output / name).exists():  # it came while this run was training
            raise _not_here(output, f"no file {name} but that of this run", "one that it did not write")
    save_model(model, output / MODEL, **card)
    text = json.dumps(facts, indent=2) + "\n"
    try:
        write_atomically(output / RESULTS, lambda part: part.write_text(text, encoding="utf-8"))
    except BaseException:
        (output / MODEL).unlink()  # else the same command would take it for another run's
        raise


def summarise_run(facts: dict) -> str:
    """Return the results of a run in a few lines: with the baseline, and the lowest recalls of a class."""
    test, images = facts["test"], facts["images"]["test"]
    low, high = test["interval_95"]
    by = f"{facts['processes']} process(es), {facts['device']}, {facts['precision']}"
    recall = {name: share for name, share in test["recall"].items() if share is not None}
    lowest = sorted(recall, key=recall.get)[:10]
    which = (
        "each class" if len(lowest) == len(recall) else f"the {len(lowest)} classes that are recognised least"
    )
    lines = [
        f"{facts['trained']} trained on {facts['images']['train']} images by {by}: "
        f"{sum(facts['seconds'].values()):.1f} s",
        f"test accuracy {test['accuracy']:.3f} ({low:.3f} to {high:.3f}): "
        f"{test['correct']} of {images} images",
        f"baseline {test['baseline']['accuracy']:.3f}: always the largest class, {test['baseline']['class']}",
        f"recall of {which}: {', '.join(f'{name} {recall[name]:.3f}' for name in recall if name in lowest)}",
    ]
    if copies := test["copies"]:
        more = f" and {len(copies) - 3} others" if copies[3:] else ""
        lines.append(
            f"WARNING: copies of training or validation images among the test images: {len(copies)}. The "
            f"accuracy is too good. They are {', '.join(copies[:3])}{more}"
        )
    return printable("\n".join(lines))
