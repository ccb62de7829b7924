"""Faults 1, 4 and 5: what can happen to a download.

Everything is served on loopback; sockets that lead anywhere else are refused.
"""

import dataclasses
import errno
import hashlib
import http.server
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
import requests

from course_utils import downloads
from course_utils.downloads import KnownFile, download
from course_utils.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
LOGIN_PAGE = b"<!DOCTYPE html><html>Please log in</html>"


class Answer(http.server.BaseHTTPRequestHandler):
    """Serve `server.content` in the way that `server.manner` names."""

    def do_GET(self):
        server, manner, content = self.server, self.server.manner, self.server.content
        server.requests.append(self.path)
        if manner == "404":
            return self.send_error(404)
        self.send_response(302 if manner == "redirect" else 200)
        if manner == "redirect":
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            return self.end_headers()
        if manner != "endless":
            self.send_header("Content-Length", str(10**15 if manner == "false length" else len(content)))
        self.end_headers()
        content *= 100 if manner == "endless" else 1
        half = len(content) // 2 if manner in ("cut once", "held") else len(content)
        self.wfile.write(content[:half])
        server.half_sent.set()
        if manner == "held":
            server.go_on.wait(60)
            self.wfile.write(content[half:])
        elif manner == "cut once":
            server.manner = "whole"
        return None

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # the client was killed
            super().handle()


@pytest.fixture
def new_mirror():
    """Return a function that starts a server for CONTENT on loopback."""
    started = []

    def start(manner="whole", content=CONTENT):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.manner, server.content, server.requests = manner, content, []
        server.half_sent, server.go_on = threading.Event(), threading.Event()
        server.base = f"http://127.0.0.1:{server.server_port}"
        server.url = f"{server.base}/data.bin"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.go_on.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_mirror_of_ones_own(monkeypatch):
    monkeypatch.delenv("COURSE_MIRROR", raising=False)


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("this never came true")


def known(*urls, **changes):
    described = KnownFile("data.bin", urls, hashlib.sha256(CONTENT).hexdigest(), MD5, len(CONTENT))
    return dataclasses.replace(described, **changes)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# 1. A truncated file, or a login page instead of it


@pytest.mark.parametrize("sent", [CONTENT[:1000], LOGIN_PAGE, b""], ids=["truncated", "login page", "empty"])
def test_fault_1_wrong_content_never_gets_the_name(sent, new_mirror, tmp_path, refused):
    mirror = new_mirror(content=sent)
    with refused(DataError, where=tmp_path / "data.bin") as caught:
        download(known(mirror.url), tmp_path)
    error = caught.value
    assert str(tmp_path) in error.do
    assert mirror.url in error.expected and "300,000 bytes" in error.expected and MD5 in error.expected
    assert f"{len(sent):,} bytes" in error.found and hashlib.sha256(sent).hexdigest() in error.found
    assert ("login page" in error.found) == (sent == LOGIN_PAGE)
    assert files_in(tmp_path) == []


def test_fault_1_good_file_is_not_replaced_and_a_bad_one_is_kept_aside(new_mirror, tmp_path):
    mirror, path = new_mirror(), tmp_path / "data.bin"
    for content, kept in ((b"what a student put there", "data.bin.bad"), (b"and again", "data.bin.bad.1")):
        path.write_bytes(content)
        mirror.content = LOGIN_PAGE
        with pytest.raises(DataError):
            download(known(mirror.url), tmp_path)
        assert path.read_bytes() == content, "replaced before there was a right one"
        mirror.content = CONTENT
        assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
        assert (tmp_path / kept).read_bytes() == content
    assert (tmp_path / "data.bin.bad").read_bytes() == b"what a student put there"


# Mirrors


def test_mirrors_are_tried_in_order_and_the_classrooms_own_comes_first(new_mirror, tmp_path, monkeypatch):
    missing, login = new_mirror("404"), new_mirror(content=LOGIN_PAGE)
    good, last = new_mirror(), new_mirror()
    monkeypatch.setenv("COURSE_MIRROR", f"{missing.base}/below/")
    with pytest.raises(DataError) as caught:
        download(known(login.url), tmp_path)
    assert f"{missing.base}/below/data.bin: HTTPError: 404" in caught.value.found
    assert f"{login.url}: 41 bytes" in caught.value.found
    download(known(login.url, good.url, last.url), tmp_path)
    assert missing.requests == ["/below/data.bin"] * 2
    assert [len(mirror.requests) for mirror in (login, good, last)] == [2, 1, 0]


def test_connection_that_breaks_is_tried_again_at_the_same_mirror(new_mirror, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(downloads, "RETRIES", 1)
    monkeypatch.setattr("pooch.core.time.sleep", waits.append)
    mirror, other = new_mirror("cut once"), new_mirror()
    assert download(known(mirror.url, other.url), tmp_path).read_bytes() == CONTENT
    assert [len(mirror.requests), other.requests, waits] == [2, [], [1]]
    assert files_in(tmp_path) == ["data.bin"]


@pytest.mark.parametrize(
    ("manner", "changes"),
    [("endless", {}), ("false length", {}), ("endless", {"md5": "", "size": None, "limit": 301_000})],
    ids=["endless", "false length", "size known about"],
)
def test_more_than_the_file_is_not_taken_and_the_next_mirror_is_asked(manner, changes, new_mirror, tmp_path):
    bad, good = new_mirror(manner, np.random.default_rng(2).bytes(200_000)), new_mirror()
    with pytest.raises(DataError, match=r"which cannot be the file|IncompleteRead"):
        download(known(bad.url, **changes), tmp_path)
    assert download(known(bad.url, good.url, **changes), tmp_path).read_bytes() == CONTENT
    assert len(bad.requests) == 2 and files_in(tmp_path) == ["data.bin"]


# 4. Two at once


DOWNLOAD = """
import sys
from pathlib import Path
from course_utils.downloads import KnownFile, download
url, folder, next_url, next_folder, sha256 = sys.argv[1:]
download(KnownFile("data.bin", (url,), sha256), Path(folder))
download(KnownFile("data.bin", (next_url,), sha256), Path(next_folder))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_fault_4_two_processes_fetch_the_same_file_and_one_is_killed_in_the_next(
    new_mirror, tmp_path, capsys
):
    """With torchvision, the second takes half a file for the whole: 11 of 60 such runs failed."""
    one, other = new_mirror("held"), new_mirror("held")
    folders, printed = [tmp_path / "one", tmp_path / "other"], []
    arguments = [one.url, folders[0], other.url, folders[1], known().sha256]
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, *map(str, arguments)])
    assert one.half_sent.wait(300)
    thread = threading.Thread(target=download, args=(known(one.url), folders[0]))
    thread.start()
    wait_until(lambda: printed.append(capsys.readouterr().out) or "".join(printed))
    assert printed[-1].startswith("Another process is fetching data.bin")
    assert files_in(folders[0]) != ["data.bin"], "no name stands for half a file"
    one.go_on.set()
    thread.join(60)
    assert (folders[0] / "data.bin").read_bytes() == CONTENT
    assert len(one.requests) == 1 and files_in(folders[0]) == ["data.bin"]

    assert other.half_sent.wait(300)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [path.is_dir() for path in folders[1].glob(".data.bin.*")] == [True]
    other.manner = "whole"
    assert download(known(other.url), folders[1]).read_bytes() == CONTENT
    assert files_in(folders[1]) == ["data.bin"]


# 5. A folder that cannot be written, a full disk, and http where https was asked for


def test_fault_5_full_disk_is_reported_and_leaves_nothing(new_mirror, tmp_path, monkeypatch, refused):
    mirror, folder = new_mirror(), tmp_path / "course"

    def write(self, block):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads.LimitedFile, "write", write)
    with refused(DataError, match="No space", where=folder / "data.bin") as caught:
        download(known(mirror.url), folder)
    assert "300,000 bytes" in caught.value.expected
    assert re.search(r"[\d,]+ bytes are free", caught.value.found)
    assert files_in(folder) == [] and len(mirror.requests) == 1


def test_fault_5_folder_that_cannot_be_written(new_mirror, folder_for_all, ordinary_user, refused):
    folder_for_all.chmod(0o555)
    with ordinary_user(), refused(DataError, where=folder_for_all / "data.bin") as caught:
        download(known(new_mirror().url), folder_for_all)
    assert "Permission denied" in caught.value.found and "bytes are free" in caught.value.found
    assert "COURSE_DATA" in caught.value.do
    folder_for_all.chmod(0o755)
    (folder_for_all / "data.bin").write_bytes(CONTENT)
    folder_for_all.chmod(0o555)
    with ordinary_user():  # a sound file needs no lock and no right to write
        assert download(known(), folder_for_all) == folder_for_all / "data.bin"
    assert [path.name for path in folder_for_all.iterdir()] == ["data.bin"]


def test_fault_5_https_is_not_tried_again_over_http(new_mirror, tmp_path):
    mirror = new_mirror()
    with pytest.raises(DataError, match="SSL"):
        download(known(mirror.url.replace("http:", "https:")), tmp_path)
    assert not mirror.requests


class PlainHttps(requests.adapters.HTTPAdapter):
    """https without encryption, since a test has no certificate."""

    def send(self, request, **options):
        https, request.url = request.url, request.url.replace("https:", "http:")
        response = super().send(request, **options)
        response.url = request.url = https
        return response


def test_fault_5_redirect_from_https_to_http_is_refused(new_mirror, tmp_path, monkeypatch):
    mirror, adapter = new_mirror("redirect"), requests.Session.get_adapter
    monkeypatch.setattr(
        requests.Session,
        "get_adapter",
        lambda self, url: PlainHttps() if url.startswith("https:") else adapter(self, url),
    )
    with pytest.raises(DataError, match="redirected from https to http:"):
        download(known(mirror.url.replace("http:", "https:")), tmp_path)
    assert len(mirror.requests) == 1
    with pytest.raises(DataError, match="TooManyRedirects"):  # from http to http it may lead
        download(known(mirror.url), tmp_path)
