"""What several test files share: small folders of images, an error message's four lines, no network."""

import socket

import numpy as np
import pytest
from PIL import Image

from course_utils.errors import CourseError


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
def write_image():
    """Return a function that writes a picture of noise, another one for every seed."""

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


@pytest.fixture
def assert_says_four_things():
    """Return a check that an error tells where, what was expected, what was found and what to do."""

    def check(error):
        assert isinstance(error, CourseError)
        lines = str(error).splitlines()
        assert lines[0].strip()
        for start in ("  where:    ", "  expected: ", "  found:    ", "  do next:  "):
            told = [line for line in lines if line.startswith(start) and line[len(start) :].strip()]
            assert len(told) == 1, f"no line {start.strip()!r} in:\n{error}"

    return check
