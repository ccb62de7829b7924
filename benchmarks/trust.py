"""Can the confidence and the heatmaps of a new head be trusted? For lesson 10.

    python benchmarks/trust.py [--seeds 0 1 2 3 4 5 6 7 8 9]

For each seed, lesson 05's head for Drawings on the frozen ResNet-18: accuracy, mean confidence and expected
calibration error (five bins) on the test drawings. Then 20 more epochs at a rate of 0.02 (`late`), and the
same with a temperature chosen on the validation drawings (`scaled`).

Three more columns are the mean confidence in the same predictions when a quarter of each drawing is covered
with white: the quarter that the drawing's own Grad-CAM map marks least (`weakest`) or most (`strongest`), and
the quarter that the map of another drawing, drawn at random, marks most (`other`).

Each seed is a row of `results/trust.csv`: another first head and another order of the same training drawings.
A row that is there is not made again.
"""

import argparse

import torch
from storing import add_rows, runs_done

from course_utils.data.loaders import make_loader
from course_utils.data.splits import load_splits
from course_utils.evaluation.calibration import calibration_error, fit_temperature, with_temperature
from course_utils.evaluation.explanations import grad_cam
from course_utils.evaluation.metrics import Evaluation, evaluate
from course_utils.models.backbones import load_backbone
from course_utils.models.freezing import find_head, freeze, replace_head
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.features import extract_features
from course_utils.training.loop import fit, train_one_epoch

BINS, EPOCHS, RATE = 5, 20, 0.02


def confidence_of(result: Evaluation) -> float:
    return float(result.probabilities.max(dim=1).values.mean())


def quarter(heats: torch.Tensor, strongest: bool) -> torch.Tensor:
    """Return where each map [images, height, width] is strongest or weakest; equal places in random order."""
    noisy = heats + 1e-6 * torch.rand(heats.shape)
    rank = noisy.flatten(1).argsort(dim=1).argsort(dim=1).view_as(heats) / heats[0].numel()
    return rank >= 0.75 if strongest else rank < 0.25


def covered(model: torch.nn.Module, test: torch.utils.data.Dataset, result: Evaluation) -> dict[str, float]:
    """Return the mean confidence in the predictions with a quarter of each image covered."""
    images = torch.stack([test[index][0] for index in range(len(test))])
    pairs = zip(images, result.predictions.tolist(), strict=True)
    heats = torch.stack([grad_cam(model, image, target) for image, target in pairs])
    others = heats[torch.randperm(len(heats))]
    covers = {
        "weakest": quarter(heats, False),
        "strongest": quarter(heats, True),
        "other": quarter(others, True),
    }
    white, means = images.amax(dim=(0, 2, 3)).view(3, 1, 1), {}
    for name, cover in covers.items():
        with torch.inference_mode():
            probabilities = model(torch.where(cover.unsqueeze(1), white, images)).softmax(dim=1)
        means[name] = float(probabilities[torch.arange(len(images)), result.predictions].mean())
    return means


def row_of(seed: int) -> dict[str, float]:
    settings = Settings(dataset="clipart", epochs=8, lr=0.01, seed=seed, device="cpu")
    splits = load_splits(settings)
    model = load_backbone(backbone_weights(settings))
    set_seed(seed)
    replace_head(model, num_classes=len(splits.classes))
    freeze(model)
    fit(model, splits.train, splits.val, settings)
    model.eval()
    result = evaluate(model, splits.test)
    covers = covered(model, splits.test, result)

    head = model.get_submodule(find_head(model))
    loader = make_loader(extract_features(model, splits.train), settings.batch_size, shuffle=True, seed=seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        train_one_epoch(head, loader, optimizer)
    late = evaluate(model, splits.test)
    temperature = fit_temperature(evaluate(model, splits.val))
    row = {"seed": seed, "temperature": temperature}
    named = {"": result, "late_": late, "scaled_": with_temperature(late, temperature)}
    for name, one in named.items():
        row |= {f"{name}accuracy": one.accuracy, f"{name}confidence": confidence_of(one)}
        row |= {f"{name}error": calibration_error(one, BINS)}
    return row | covers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(10)])
    done = runs_done("trust.csv", "seed")
    for seed in parser.parse_args().seeds:
        if (seed,) not in done:
            row = row_of(seed)
            print(row, flush=True)
            add_rows("trust.csv", [row], "python benchmarks/trust.py")


if __name__ == "__main__":
    main()
