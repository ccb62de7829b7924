"""Make what the page `try` loads: the backbone as ONNX, the library that runs it in a browser, and drawings.

All of it is kept in build/try, so that only the first build needs npm and a network.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "build" / "try"
WEIGHTS = ROOT / "data" / "weights" / "resnet18_64px.safetensors"
CLIPART = ROOT / "data" / "clipart"
CLASSES = ("buildings", "fruit", "mammals", "birds", "bugs")

RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
RUNTIME_LICENCE = f"{RUNTIME}.LICENSE.txt"


class AssetError(Exception):
    """Why a file of the page could not be made."""


def export_backbone(path: Path) -> None:
    """Write the shipped network without its head as ONNX, and compare it with PyTorch on 100 drawings.

    Its weights are stored in half precision, as they are in the course, so none of them is rounded. The first
    step of the graph turns them into float32, which is faster in a browser.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (PyTorch's exporter needs it)
    except ImportError as error:
        raise AssetError(f'{error}. Try pip install -e ".[site]"') from error
    import torch
    from safetensors.torch import load_file
    from torchvision.models import resnet18

    model = resnet18()
    model.load_state_dict(load_file(WEIGHTS))
    model.fc = torch.nn.Identity()
    model.eval()
    images = drawings_as_images(100)
    options = {"input_names": ["images"], "output_names": ["features"], "verbose": False, "optimize": False}
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of PyTorch's own
        graph = torch.onnx.export(model, (images,), dynamic_shapes=[{0: "pictures"}], **options).model_proto
    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            half = onnx.numpy_helper.to_array(tensor).astype("float16")
            cast = onnx.helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=tensor.data_type)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{tensor.name}.half"))
            casts.append(cast)
    nodes = [*casts, *graph.graph.node]
    for node in nodes:
        node.ClearField("metadata_props")  # where in PyTorch's code it comes from
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)

    stored = graph.SerializeToString()
    found = onnxruntime.InferenceSession(stored).run(None, {"images": images.numpy()})[0]
    with torch.inference_mode():
        difference = abs(found - model(images).numpy()).max()
    if not difference < 1e-4:
        raise RuntimeError(f"Expected PyTorch's features from ONNX, got a difference of {difference:.2g}.")
    path.write_bytes(stored)


def drawings_as_images(count: int):
    """Return that many drawings as the network gets them: float32, [count, 3, 64, 64]."""
    import torch

    from course_utils.data.folders import FolderOfClasses
    from course_utils.data.preprocessing import Preprocessing
    from course_utils.models.weights import backbone_weights
    from course_utils.settings import Settings

    preprocessing = Preprocessing.from_weights(backbone_weights(Settings()))
    drawings = FolderOfClasses(CLIPART / "test", preprocessing.transform())
    return torch.stack([drawings[i][0] for i in range(count)])


def fetch_runtime(folder: Path) -> None:
    """Take ONNX Runtime Web from npm, whose files have to be those that were pinned."""
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError("npm is not installed: install Node.js")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", RUNTIME, "--pack-destination", place]
        packed = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if packed.returncode:
            raise AssetError(f"npm could not fetch {RUNTIME}: {packed.stderr.strip()[-300:]}")
        (archive,) = Path(place).glob("*.tgz")
        unpack_runtime(archive, folder)


def unpack_runtime(archive: Path, folder: Path) -> None:
    """Unpack the files that the page loads, with their licence, from the archive that was pinned."""
    digest = hashlib.sha512(archive.read_bytes()).digest()
    found = f"sha512-{base64.b64encode(digest).decode()}"
    if found != INTEGRITY:
        raise RuntimeError(f"Expected {RUNTIME} with {INTEGRITY}, got {found}.")
    with tarfile.open(archive) as tar:
        for name in RUNTIME_FILES:
            (folder / name).write_bytes(tar.extractfile(f"package/dist/{name}").read())
    licence = (ROOT / "LICENSES" / "MIT.txt").read_text(encoding="utf-8")
    licence = licence.replace("<year> <copyright holders>", "Microsoft Corporation")
    (folder / RUNTIME_LICENCE).write_text(licence, encoding="utf-8")


def copy_drawings(folder: Path) -> None:
    """Copy the drawings of some classes, with their licence, and list them."""
    listed = {}
    for name in CLASSES:
        listed[name] = {}
        for split in ("train", "test"):
            shutil.copytree(CLIPART / split / name, folder / split / name, dirs_exist_ok=True)
            listed[name][split] = sorted(path.name for path in (CLIPART / split / name).glob("*.png"))
    shutil.copyfile(CLIPART / "LICENSE", folder / "LICENSE.txt")
    (folder / "list.json").write_text(json.dumps(listed), encoding="utf-8")


def is_complete(folder: Path) -> bool:
    return all((folder / name).exists() for name in ("backbone.onnx", RUNTIME_LICENCE))


def make_assets(app: Sphinx, config: Config) -> None:
    """Make what is missing; where that is impossible, say why, and build the site without it."""
    folder = ASSETS / "try"
    (folder / "drawings").mkdir(parents=True, exist_ok=True)
    copy_drawings(folder / "drawings")
    backbone = folder / "backbone.onnx"
    made_from = max(path.stat().st_mtime for path in (WEIGHTS, Path(__file__)))
    try:
        if not backbone.exists() or backbone.stat().st_mtime < made_from:
            export_backbone(backbone)
        if not (folder / RUNTIME_LICENCE).exists():  # written last, and named after the version
            fetch_runtime(folder)
    except AssetError as error:
        print(f"The page `try` cannot run its network: {error}, and build the site again.", file=sys.stderr)
    config.html_static_path = [*config.html_static_path, str(ASSETS)]


def say_what_is_missing(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "docs/try" and not is_complete(ASSETS / "try"):
        source[0] = source[0].replace('<div id="try"', '<div id="try" data-incomplete')


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", make_assets)
    app.connect("source-read", say_what_is_missing)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
