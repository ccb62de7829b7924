"""What several test files share: small folders of images, an error message's four lines, no network,
and a user without privileges."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from course_utils.errors import CourseError

# Two processes on two cores are three times as fast with one thread each as with two. Kernels inherit it.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_MININTERVAL", "5")  # a bar that is redrawn too often fails a run of a notebook

# torch and torchvision are imported where they are used: of several processes the first, which runs no test,
# reads this file before the others start.


@pytest.fixture
def no_network(monkeypatch):
    """Refuse every connection that leaves this machine, as a classroom without a network does."""
    loopback = ("127.0.0.1", "::1", "localhost")
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def refuse_to_look_up(host, *arguments, **options):
        if host not in loopback:
            raise socket.gaierror(-2, "Name or service not known")
        return look_up(host, *arguments, **options)

    def refuse_to_connect(self, address):
        if isinstance(address, tuple) and address[0] not in loopback:
            raise OSError(101, "Network is unreachable")
        return connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", refuse_to_look_up)
    monkeypatch.setattr(socket.socket, "connect", refuse_to_connect)


@pytest.fixture
def in_float32(monkeypatch):
    """Make this machine one that does not multiply bfloat16, where a test compares exact numbers."""
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)


@pytest.fixture
def write_image():
    """Return a function that writes a picture of noise, another one for every seed."""
    import numpy as np
    from PIL import Image

    def write(path, seed=0, size=16):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def write_class_folders(write_image):
    """Return a function that fills a folder with class folders of so many different PNG images each."""

    def write(root, counts):
        for label, (name, count) in enumerate(counts.items()):
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                # Seeded by the folder, too: train/cat/0.png and test/cat/0.png are two pictures.
                seed = [label, number, *root.name.encode()]
                write_image(root / name / f"{number}.png", seed)
        return root

    return write


def says_four_things(error):
    """Check that an error tells where, what was expected, what was found and what to do."""
    assert isinstance(error, CourseError)
    lines = str(error).splitlines()
    assert lines[0].strip()
    for start in ("  where:    ", "  expected: ", "  found:    ", "  do next:  "):
        told = [line for line in lines if line.startswith(start) and line[len(start) :].strip()]
        assert len(told) == 1, f"no line {start.strip()!r} in:\n{error}"


@pytest.fixture
def pets(tmp_path, write_class_folders):
    """Give a folder of twelve cats and twelve dogs."""
    return write_class_folders(tmp_path / "pets", {"cat": 12, "dog": 12})


@pytest.fixture(autouse=True, scope="session")
def every_error_says_four_things():
    """Look at each error of the course when it is made, so that no test has to ask."""
    make = CourseError.__init__

    def make_and_look(self, *arguments, **parts):
        make(self, *arguments, **parts)
        says_four_things(self)

    CourseError.__init__ = make_and_look
    yield
    CourseError.__init__ = make


@pytest.fixture
def refused():
    """Return `pytest.raises` for a `CourseError` that has to name the right `where`."""

    @contextmanager
    def raises(kind, match=None, where=None):
        with pytest.raises(kind, match=match) as caught:
            yield caught
        assert where is None or caught.value.where == str(where)

    return raises


@pytest.fixture
def ordinary_user():
    """Return a context in which permissions count: root, who may write anywhere, becomes somebody else."""

    @contextmanager
    def become():
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)

    return become


@pytest.fixture
def folder_for_all():
    """Give a folder that every user may enter, as pytest's own may not."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions of folders are another matter on this system")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a real file system of so many bytes, in memory, and gives its folder."""
    mounted = []

    def mount(size):
        folder = tmp_path / f"disk {len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small file system can be mounted here by root on Linux only")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Give the folder in which torch.hub keeps weights, empty; no classroom has a mirror of its own."""
    import torch

    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)  # so that set_dir below is undone at the end
    torch.hub.set_dir(str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def no_waiting(monkeypatch):
    """Let the Hugging Face hub try again at once: by itself it waits for 23 seconds in all."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
