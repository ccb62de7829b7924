"""Files of pretrained weights: verified at every load, and nothing in them is run."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torchvision import models
from torchvision.models import WeightsEnum

from course_utils.downloads import KnownFile, download
from course_utils.errors import WeightsError
from course_utils.settings import REPOSITORY_FOLDER, how_to_restore

# What torchvision's weights do to a picture. Their `transforms()` is public, the module of its class is not.
ImageClassification = type(models.ResNet18_Weights.IMAGENET1K_V1.transforms())

PICKLES = (".pth", ".pt", ".bin")  # what torch.save writes


class FileWeights(WeightsEnum):
    """Weights in a .safetensors file on this machine, checked against their SHA-256 at every load.

    A safetensors file holds numbers only, so reading one cannot run code. `.meta["sha256"]` is its hash, if
    that is known.
    """

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return (REPOSITORY_FOLDER / self.url).resolve()

    def get_state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Read the file: the name and the tensor (float32 or int64, on the CPU) of each parameter and buffer.

        The arguments of torchvision's own method (progress, ...) are not needed.

        Raises:
            WeightsError: If the file is missing, altered, no safetensors file, or holds NaN or infinity.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise missing_file(self.path, self.advice()) from error
        found, expected = hashlib.sha256(content).hexdigest(), self.meta.get("sha256")
        if expected and found != expected:
            raise WeightsError(
                "The pretrained weights are not the ones that the course was made with.",
                where=self.path,
                expected=f"SHA-256 {expected}",
                found=f"SHA-256 {found} ({len(content):,} bytes)",
                do=self.advice(),
            )
        state = self.parse(content)
        state = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
        check_finite(state, self.path)
        return state

    def advice(self) -> str:
        """Return how to get the file again; "" for one that somebody has named."""
        return how_to_restore(self.url) if "sha256" in self.meta else ""

    def parse(self, content: bytes) -> dict[str, torch.Tensor]:
        """Return the tensors that the file holds, by the names that they have in the network."""
        try:
            return load_safetensors(content)
        except SafetensorError as error:
            raise WeightsError(
                "The weights cannot be read.",
                where=self.path,
                expected="a .safetensors file",
                found=f"{len(content):,} bytes that are not such a file ({error})",
                do="Name a file that was written with safetensors.",
            ) from error


def read_hub(weights: WeightsEnum) -> dict[str, torch.Tensor]:
    """Read torchvision's weights from the cache of torch.hub, or download them into it.

    torch.hub checks a hash when it downloads and never again, and unpickles whatever then lies in its
    cache. Here the hash in the file's name is compared at every load, and nothing but tensors is read. A file
    that is damaged or altered is downloaded again.
    """
    file, folder = hub_file(weights)
    path = download(file, folder)
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


def hub_file(weights: WeightsEnum) -> tuple[KnownFile, Path]:
    """Describe a file of torchvision's weights, which has its hash in its name, and torch.hub's folder."""
    name = Path(urlparse(weights.url).path).name
    begin = re.search(r"-([a-f0-9]+)\.", name).group(1)
    folder = (Path(torch.hub.get_dir()) / "checkpoints").absolute()
    return KnownFile(name, (weights.url,), f"sha256:{begin}", WeightsError), folder


def check_finite(state: Mapping[str, torch.Tensor], where: Path | str) -> None:
    """Raise `WeightsError`, which names the entry, if a number of any entry is NaN or infinite."""
    for name, tensor in state.items():
        finite = tensor.isfinite()
        if not finite.all():
            raise WeightsError(
                f"The weights hold NaN or infinity, in {name}.",
                where=where,
                expected="finite numbers",
                found=f"{tensor[~finite][0]}; {(~finite).sum():,} of its {tensor.numel():,} are not finite",
                do="Take other weights. These were probably saved after a training that had diverged.",
            )


def missing_file(path: Path, do: str = "") -> WeightsError:
    """Return the error for a file of weights that cannot be read; `do` for one that nobody has named."""
    return WeightsError(
        "The file of weights does not exist or cannot be read.",
        where=path,
        expected=f"a {path.suffix} file",
        found="a folder" if path.is_dir() else "nothing that can be read",
        do=do or f"Check the path; one that does not begin with / starts from the folder {Path.cwd()}.",
    )


def pickled_file(path: Path) -> WeightsError:
    """Return the error for a file that torch.save wrote, with the lines that convert it."""
    return WeightsError(
        f"Weights are not read from a {path.suffix} file, which may hold code that runs when it is read.",
        where=path,
        expected="a .safetensors file, which holds numbers only",
        found=f"a {path.suffix} file",
        do="Convert it once, and name the new file:\n"
        f"    state = torch.load({str(path)!r}, map_location='cpu', weights_only=True)\n"
        "    state = {name: tensor.contiguous().clone() for name, tensor in state.items()}\n"
        f"    safetensors.torch.save_file(state, {str(path.with_suffix('.safetensors'))!r})",
    )
