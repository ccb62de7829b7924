"""Which pretrained weights, where do they lie, and are they what they claim to be?

torchvision describes weights by an entry of an enumeration, for example
`ResNet50_Weights.IMAGENET1K_V1`, which knows its address (`.url`), the preprocessing that the network was
trained with (`.transforms()`), the names of its classes (`.meta["categories"]`) and how to read the file
(``.get_state_dict()``). The weights that ship with the course are described in the same way.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import nn
from torchvision import models
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms import InterpolationMode

from course_utils.data.downloads import KnownFile, difference, download, quarantine
from course_utils.data.preprocessing import ImageClassification
from course_utils.errors import WeightsError
from course_utils.settings import REPOSITORY_FOLDER, Settings, unknown_name


class FileWeights(WeightsEnum):
    """Weights in a .safetensors file on this machine, checked against their SHA-256 at every load.

    A safetensors file holds numbers only, so reading one cannot run code.
    """

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return (REPOSITORY_FOLDER / self.url).resolve()

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Read the file. The arguments of torchvision's own method (progress, ...) are not needed.

        Returns:
            The name and the tensor (float32 or int64, on the CPU) of every parameter and buffer.

        Raises:
            WeightsError: If the file is missing, altered or not a safetensors file, or if it holds a number
                that is NaN or infinite.
        """
        content = _read_bytes(self.path)
        found = hashlib.sha256(content).hexdigest()
        expected = self.meta.get("sha256")
        if expected and found != expected:
            raise WeightsError(
                "The pretrained weights are not the ones that the course was made with.",
                where=self.path,
                expected=f"SHA-256 {expected}",
                found=f"SHA-256 {found} ({len(content):,} bytes)",
                do="Get the file again: git checkout -- data/weights",
            )
        try:
            state = load_safetensors(content)
        except SafetensorError as error:
            raise WeightsError(
                "The weights cannot be read.",
                where=self.path,
                expected="a .safetensors file",
                found=f"{len(content):,} bytes that are none ({error})",
                do="Name a file that was written with safetensors.",
            ) from error
        state = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
        refuse_nan(state, self.path)
        return state


class ResNet18_64px_Weights(FileWeights):  # noqa: N801 (torchvision's way to name weights)
    """torchvision's `resnet18` for pictures of 64 pixels, shipped in data/weights (see its card)."""

    DISTILLED_V1 = Weights(
        url="data/weights/resnet18_64px.safetensors",
        transforms=partial(ImageClassification, crop_size=64, resize_size=64),
        meta={
            "backbone": "resnet18",
            "categories": models.ResNet18_Weights.DEFAULT.meta["categories"],
            "num_params": 11689512,
            "min_size": (1, 1),
            "sha256": "9eefedc2beac89a586155dd049b65bde3dd9e044c820aa6838bd6afa978e8ed5",
        },
    )
    DEFAULT = DISTILLED_V1


class RandomWeights(WeightsEnum):
    """No pretrained weights: every parameter is drawn at random when the network is built."""

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Raise `WeightsError`: there is nothing to read."""
        raise WeightsError(
            "Random weights have no file.",
            where=repr(self),
            expected="pretrained weights",
            found='weights="none"',
            do="Use load_backbone(weights), which draws them.",
        )


class TimmWeights(WeightsEnum):
    """The pretrained weights that timm has for a network; timm downloads and keeps them."""


def backbone_weights(settings: Settings) -> WeightsEnum:
    """Return the entry that describes the weights which the settings ask for. Nothing is read yet.

    Raises:
        ConfigError: If the backbone or the weights are unknown.
        WeightsError: If a file is named that is not there.
    """
    name, wanted = settings.backbone, settings.weights
    if name.startswith("timm/"):
        return _timm_weights(name, wanted)
    if name not in classifier_names():
        raise unknown_name("backbone", name, [*classifier_names(), "timm/NAME"])
    published = models.get_model_weights(name)
    # What `pretrained=True` meant. torchvision's DEFAULT may be a later one, which knows ImageNet better, but
    # whose frozen features need not be better for other pictures (Kornblith et al., 2021, arXiv:2010.16402).
    usual = published.__members__.get("IMAGENET1K_V1", published.DEFAULT)
    described = {"backbone": name, "categories": usual.meta["categories"]}
    if wanted == "none":
        entry = Weights("", usual.transforms, described)
        return RandomWeights("RandomWeights", {"NONE": entry}).NONE
    if wanted == "default" and settings.profile == "quick" and name == "resnet18":
        return ResNet18_64px_Weights.DEFAULT
    if wanted == "default":
        return usual
    if wanted in published.__members__:
        return published[wanted]
    if name == "resnet18" and wanted in ResNet18_64px_Weights.__members__:
        return ResNet18_64px_Weights[wanted]
    path = Path(wanted).expanduser()
    if path.suffix != ".safetensors":
        valid = ["default", "none", *published.__members__, "the path of a .safetensors file"]
        raise unknown_name(f"weights entry of {name}", wanted, valid)
    if not path.is_file():
        raise _missing_file(path.resolve())
    entry = Weights(str(path.resolve()), usual.transforms, described)
    return FileWeights("LocalWeights", {"FILE": entry}).FILE


def refuse_nan(state: Mapping[str, torch.Tensor], where: Path | str) -> None:
    """Raise `WeightsError`, which names the entry, if a number of any entry is NaN or infinite."""
    for name, tensor in state.items():
        if tensor.sum().isfinite():  # NaN and infinity stay in a sum, and a sum is quick
            continue
        finite = tensor.isfinite()
        if not finite.all():
            raise WeightsError(
                f"The weights hold NaN or infinity, in {name}.",
                where=where,
                expected="finite numbers",
                found=f"{tensor[~finite][0]}; {(~finite).sum():,} of its {tensor.numel():,} are not finite",
                do="Take other weights. These were probably saved after a training that had diverged.",
            )


def refuse_unfit(state: Mapping[str, torch.Tensor], network: nn.Module, where: Path | str) -> None:
    """Raise `WeightsError` for entries that `load_state_dict` misreports, or takes without a word.

    These are names that all begin with a wrapper's, such as DataParallel's `module.`, and whole numbers where
    the network has decimals. Anything else that does not fit is `load_state_dict`'s to tell.
    """
    expected = network.state_dict()
    first = next(iter(expected))
    prefix = next((name.removesuffix(first) for name in state if name.endswith(f".{first}")), "")
    if prefix and all(name.startswith(prefix) for name in state):
        raise WeightsError(
            f"The names of all weights begin with {prefix!r}.",
            where=where,
            expected=f"the network's own names, for example {first}",
            found=f"{prefix}{first}: they were saved from a wrapper around the network",
            do=f"Save them again without it: {{name.removeprefix({prefix!r}): tensor for name, tensor in "
            "state.items()}; or save the state_dict() of the network in the wrapper.",
        )
    for name, tensor in state.items():
        if name in expected and expected[name].is_floating_point() and not tensor.is_floating_point():
            raise WeightsError(
                f"The weights in {name} are not decimal numbers.",
                where=where,
                expected=f"{expected[name].dtype}, as in the network",
                found=str(tensor.dtype),
                do="Save them as float32. Weights that were quantized to whole numbers cannot be used.",
            )


def classifier_names() -> list[str]:
    """Return the names of torchvision's image classifiers."""
    return models.list_models(module=models)


def backbone_name(weights: WeightsEnum) -> str:
    """Return the name of the network that the weights belong to, for example "resnet50"."""
    if "backbone" in weights.meta:
        return weights.meta["backbone"]
    return next(name for name in classifier_names() if models.get_model_weights(name) is type(weights))


def hub_state_dict(weights: WeightsEnum) -> dict[str, torch.Tensor]:
    """Read torchvision's weights from the cache of torch.hub, or download them into it.

    torch.hub checks a hash when it downloads and never again, and unpickles whatever then lies in its
    cache. Here the hash in the file's name is compared at every load, and nothing but tensors is read.

    Raises:
        WeightsError: If the file cannot be downloaded, is damaged or altered (it is then set aside under
            a name that ends in .bad), or holds anything else than weights.
    """
    file, folder = _hub_file(weights)
    path = folder / file.name
    if path.exists():
        _refuse_altered(path, file)
    else:
        download(file, folder)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle may raise anything at all on a file that is none
        raise WeightsError(
            "The weights cannot be read safely.",
            where=path,
            expected="a file that holds tensors and nothing else",
            found=f"{type(error).__name__}: {str(error)[:200]}",
            do="Delete the file; it is downloaded again.",
        ) from error


def _hub_file(weights: WeightsEnum) -> tuple[KnownFile, Path]:
    """Describe a file of torchvision's weights, which has its hash in its name, and torch.hub's folder."""
    name = Path(urlparse(weights.url).path).name
    begin = re.search(r"-([a-f0-9]+)\.", name).group(1)
    folder = (Path(torch.hub.get_dir()) / "checkpoints").absolute()
    # The table has millions of 1,048,576 bytes, rounded to three places.
    limit = math.ceil((weights.meta["_file_size"] + 0.0005) * 2**20) if "_file_size" in weights.meta else None
    return KnownFile(name, (weights.url,), begin, error=WeightsError, limit=limit), folder


def _refuse_altered(path: Path, file: KnownFile) -> None:
    problem = difference(path, file)
    if not problem:
        return
    try:
        advice = f"Run again to download them; the damaged file was set aside as {quarantine(path).name}."
    except OSError:
        advice = "You may not change this folder: tell its owner, or name another one in TORCH_HOME."
    raise WeightsError(
        "Cached weights are damaged or altered.",
        where=path,
        expected=f"a SHA-256 that begins with {file.sha256}",
        found=problem,
        do=advice,
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _missing_file(path) from error


def _missing_file(path: Path) -> WeightsError:
    return WeightsError(
        "The file of weights does not exist or cannot be read.",
        where=path,
        expected="a .safetensors file",
        found="a folder" if path.is_dir() else "nothing that can be read",
        do="Check the path; a path that does not begin with / starts from the working directory.",
    )


def _timm_weights(name: str, wanted: str) -> WeightsEnum:
    """Describe a timm network's weights in torchvision's way.

    Their preprocessing becomes torchvision's preset, which does the same: resize the shorter side, cut out
    the middle, normalise. Where timm squeezes or pads a picture to a square, the middle is cut out, too.
    """
    try:
        import timm
        from timm.data import resolve_data_config
    except ImportError as error:
        raise unknown_name("backbone without timm", name, classifier_names()) from error
    plain = name.removeprefix("timm/")
    if not timm.is_model(plain):
        raise unknown_name("timm network", plain, timm.list_models())
    if wanted not in ("default", "none"):
        raise unknown_name("weights entry of a timm network", wanted, ["default", "none"])
    # Built on the meta device: only its description is needed, no memory is filled.
    try:
        with torch.device("meta"):
            described = timm.create_model(plain, pretrained=False)
    except RuntimeError as error:  # timm's answer to a tag that it does not know
        raise unknown_name("timm network", plain, timm.list_models(pretrained=True)) from error
    config = resolve_data_config({}, model=described)

    size = config["input_size"][-1]
    transforms = partial(
        ImageClassification,
        crop_size=size,
        resize_size=int(size / config["crop_pct"]),
        mean=config["mean"],
        std=config["std"],
        interpolation=InterpolationMode(config["interpolation"]),
    )
    entry = Weights(described.pretrained_cfg.get("url", ""), transforms, {"backbone": name})
    if wanted == "none":
        return RandomWeights("RandomWeights", {"NONE": entry}).NONE
    return TimmWeights("TimmWeights", {"DEFAULT": entry}).DEFAULT
