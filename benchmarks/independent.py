"""Compare what the course computes with what other people's code computes from the same input.

    pip install statsmodels grad-cam timm
    python benchmarks/independent.py

Each comparison is a function that gives the largest difference and the number of cases. One whose library is
missing is skipped, and says so. It takes some minutes, most of them for torchvision's networks.
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import version

import numpy as np
import torch
import torchvision
from storing import write_table
from torch import nn

from course_utils import evaluation
from course_utils.evaluation import calibration
from course_utils.evaluation.metrics import Evaluation
from course_utils.evaluation.transferability import log_me

CLASSES = ["a", "b", "c", "d"]


def evaluations(cases: int = 50) -> Iterator[Evaluation]:
    """Yield random predictions for 4 classes and 20 to 500 images."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(cases):
        images = int(torch.randint(20, 500, (), generator=generator))
        logits = 2 * torch.randn(images, len(CLASSES), generator=generator)
        labels = (logits + 2 * torch.randn(logits.shape, generator=generator)).argmax(dim=1)
        yield Evaluation(logits.softmax(dim=1), labels, CLASSES)


def largest(differences: Iterable) -> tuple[float, int]:
    """Return the largest absolute difference, and how many pairs were compared."""
    values = [float(np.max(np.abs(np.asarray(difference)))) for difference in differences]
    return max(values), len(values)


def wilson_interval() -> tuple[float, int]:
    from statsmodels.stats.proportion import proportion_confint

    counts = [
        (correct, images)
        for images in (1, 5, 30, 154, 2000)
        for correct in range(0, images + 1, 1 + images // 9)
    ]
    return largest(
        np.subtract(evaluation.accuracy_interval(*count), proportion_confint(*count, method="wilson"))
        for count in counts
    )


def t_interval() -> tuple[float, int]:
    from scipy import stats

    rng = np.random.default_rng(0)
    runs = [rng.normal(0.6, 0.02, size) for size in range(2, 20)]
    return largest(
        np.subtract(
            evaluation.mean_interval(values)[1:],
            stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values)),
        )
        for values in runs
    )


def confusion() -> tuple[float, int]:
    from sklearn.metrics import confusion_matrix

    return largest(
        evaluation.confusion_matrix(result).numpy()
        - confusion_matrix(result.labels, result.predictions, labels=range(4))
        for result in evaluations()
    )


def precision_and_recall() -> tuple[float, int]:
    from torchmetrics.functional import classification as metrics

    return largest(
        evaluation.per_class(result)[name].to_numpy()
        - function(result.predictions, result.labels, num_classes=4, average="none").numpy()
        for result in evaluations()
        for name, function in (
            ("precision", metrics.multiclass_precision),
            ("recall", metrics.multiclass_recall),
            ("f1", metrics.multiclass_f1_score),
        )
    )


def calibration_error() -> tuple[float, int]:
    from torchmetrics.functional.classification import multiclass_calibration_error

    return largest(
        calibration.calibration_error(result, bins)
        - float(multiclass_calibration_error(result.probabilities, result.labels, num_classes=4, n_bins=bins))
        for result in evaluations()
        for bins in (5, 10, 15)
    )


def temperature() -> tuple[float, int]:
    """Compare the loss at the temperature with the lowest on a fine grid."""

    def loss(result: Evaluation, value: float) -> float:
        return nn.functional.cross_entropy(result.probabilities.double().log() / value, result.labels).item()

    grid = np.geomspace(0.05, 20, 2000)
    return largest(
        loss(result, evaluation.fit_temperature(result)) - min(loss(result, value) for value in grid)
        for result in evaluations(5)
    )


def mahalanobis() -> tuple[float, int]:
    """Compare with distances that scikit-learn computes from the same shrunk covariance."""
    from sklearn.covariance import LedoitWolf

    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(300, 40, generator=generator), torch.arange(300) % 3
    features += 2 * labels[:, None]
    new = torch.randn(100, 40, generator=generator) + 3
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(3)]).numpy()
    fitted = LedoitWolf(assume_centered=True).fit(features.numpy() - means[labels])
    theirs = -np.min([fitted.mahalanobis(new.numpy() - mean) for mean in means], axis=0)
    ours = evaluation.feature_distance(torch.utils.data.TensorDataset(features, labels))(new).numpy()
    return largest([(ours - theirs) / np.abs(theirs)])


def log_evidence() -> tuple[float, int]:
    """Compare LogME with the evidence as a normal density, maximised by a general optimiser."""
    from scipy import optimize, stats

    differences, rng = [], np.random.default_rng(0)
    for images, width in ((40, 5), (60, 20), (30, 50)):
        features, labels = rng.normal(size=(images, width)), rng.integers(0, 3, images)
        features[:, :3] += 1.5 * np.eye(3)[labels]
        evidences = []
        for label in range(3):
            target = (labels == label).astype(float)

            def minus_evidence(logs, target=target, features=features):
                alpha, beta = np.exp(logs)
                covariance = np.eye(len(target)) / beta + features @ features.T / alpha
                return -stats.multivariate_normal(np.zeros(len(target)), covariance).logpdf(target)

            starts = [(0, 0), (3, 1), (6, 2), (9, 1)]
            best = min(optimize.minimize(minus_evidence, start, method="Nelder-Mead").fun for start in starts)
            evidences.append(-best / images)
        ours = log_me(torch.tensor(features), torch.tensor(labels))
        differences.append(ours - np.mean(evidences))
    return largest(differences)


def network_and_image() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=5).eval()
    return model, torch.rand(3, 128, 128)


def as_heatmap(map_: torch.Tensor) -> torch.Tensor:
    """Return the map as large as the picture, its strongest place 1."""
    map_ = nn.functional.interpolate(map_.detach(), size=(128, 128), mode="bilinear")[0, 0]
    return map_ / map_.max().clamp(min=1e-12)


def grad_cam() -> tuple[float, int]:
    from captum.attr import LayerGradCam

    model, image = network_and_image()
    theirs = LayerGradCam(model, model.layer4)
    return largest(
        (
            evaluation.grad_cam(model, image, target)
            - as_heatmap(theirs.attribute(image[None], target, relu_attributions=True))
        ).numpy()
        for target in range(5)
    )


def grad_cam_again() -> tuple[float, int]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, image = network_and_image()
    with GradCAM(model=model, target_layers=[model.layer4]) as theirs:
        maps = [theirs(image[None], [ClassifierOutputTarget(target)])[0] for target in range(5)]
    return largest(
        evaluation.grad_cam(model, image, target).numpy() - map_ / max(map_.max(), 1e-12)
        for target, map_ in enumerate(maps)
    )


def entity_f1() -> tuple[float, int]:
    from seqeval.metrics import f1_score

    from course_utils.text.entities import entity_f1 as ours

    rng = np.random.default_rng(0)
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    cases = [[[list(rng.choice(names, 12)) for _ in range(8)] for _ in range(2)] for _ in range(30)]
    return largest(ours(*case).f1 - f1_score(*case) for case in cases)


def preprocessing() -> tuple[float, int]:
    """Compare a preset with timm's own transform, on random pictures, in grey values."""
    import timm
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    from course_utils.data.preprocessing import Preprocessing
    from course_utils.models.weights import backbone_weights
    from course_utils.settings import Settings

    differences, rng = [], np.random.default_rng(0)
    for name in ("resnet18.a1_in1k", "efficientnet_b0.ra_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"):
        weights = backbone_weights(Settings(backbone=f"timm/{name}"))
        config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        ours, theirs = Preprocessing.from_weights(weights).transform(), create_transform(**config)
        for size in ((224, 300), (300, 250), (400, 640)):
            picture = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
            differences.append((ours(picture) - theirs(picture)).numpy() * max(config["std"]) * 255)
    return largest(differences)


def folded_networks() -> tuple[float, int]:
    """Compare torchvision's classifiers with their folded copies, in double precision (relative)."""
    from course_utils.training.features import fuse_conv_bn

    differences = []
    for name in torchvision.models.list_models(module=torchvision.models):
        torch.manual_seed(0)
        if torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"] > 1e8:
            continue  # gigabytes in double precision, and smaller ones of the family are here
        network = torchvision.models.get_model(name).eval().double()
        for module in network.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight)  # torchvision's vision transformers start with a head of zeros
        pixels = getattr(network, "image_size", 224 if name.startswith("maxvit") else 96)
        images = torch.rand(2, 3, pixels, pixels, dtype=torch.float64)
        with torch.inference_mode():
            expected = network(images)
            difference = fuse_conv_bn(network)(images) - expected
        differences.append((difference.abs().max() / expected.abs().max()).item())
        print(f"{name:<24} {differences[-1]:.1e}", flush=True)
    return largest(differences)


COMPARISONS = (
    ("accuracy, Wilson interval", wilson_interval, "statsmodels"),
    ("mean of runs, Student's t interval", t_interval, "scipy"),
    ("confusion matrix", confusion, "scikit-learn"),
    ("precision, recall and F1 of each class", precision_and_recall, "torchmetrics"),
    ("expected calibration error", calibration_error, "torchmetrics"),
    ("loss at the fitted temperature", temperature, "numpy"),
    ("Mahalanobis distance (relative)", mahalanobis, "scikit-learn"),
    ("LogME", log_evidence, "scipy"),
    ("Grad-CAM", grad_cam, "captum"),
    ("Grad-CAM", grad_cam_again, "grad-cam"),
    ("F1 of entities", entity_f1, "seqeval"),
    ("preprocessing of three timm networks (grey values)", preprocessing, "timm"),
    ("networks with folded BatchNorm (relative)", folded_networks, "torchvision"),
)


def main() -> None:
    """Make every comparison whose library is installed, and store the table."""
    rows = []
    for name, compare, package in COMPARISONS:
        try:
            difference, cases = compare()
        except ImportError as error:
            print(f"{name}: skipped, {error}")
            continue
        library = f"{package} {version(package)}"
        rows.append({"compared": name, "with": library, "cases": cases, "largest_difference": difference})
        print(rows[-1], flush=True)
    write_table("independent.csv", rows)


if __name__ == "__main__":
    main()
