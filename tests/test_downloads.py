"""Faults 1, 4 and 5: what can happen to a download.

Everything is served on loopback; sockets that lead anywhere else are refused.
"""

import hashlib
import http.server
import threading
from contextlib import suppress

import numpy as np
import pytest
import requests

from course_utils.downloads import KnownFile, download
from course_utils.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")

CONTENT = np.random.default_rng(0).bytes(300_000)
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
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
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
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
        with suppress(ConnectionError):
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


def known(*urls):
    return KnownFile("data.bin", urls, HASH)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("sent", [CONTENT[:1000], LOGIN_PAGE], ids=["truncated", "login page"])
def test_fault_1_wrong_content_never_gets_the_name(sent, new_mirror, tmp_path, refused):
    mirror, path = new_mirror(content=sent), tmp_path / "data.bin"
    with refused(DataError, where=path) as caught:
        download(known(mirror.url), tmp_path)
    error = caught.value
    assert HASH in error.expected and str(tmp_path) in error.do
    assert f"{mirror.url}: {len(sent):,} bytes" in error.found
    assert hashlib.sha256(sent).hexdigest() in error.found
    assert files_in(tmp_path) == []


def test_fault_1_damaged_file_is_replaced_by_a_right_one_alone(new_mirror, tmp_path):
    mirror, path = new_mirror(content=LOGIN_PAGE), tmp_path / "data.bin"
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="here: 7 bytes"):
        download(known(mirror.url), tmp_path)
    assert path.read_bytes() == b"damaged"
    mirror.content = CONTENT
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT


def test_mirrors_are_tried_in_order_and_the_classrooms_own_comes_first(new_mirror, tmp_path, monkeypatch):
    missing, login = new_mirror("404"), new_mirror(content=LOGIN_PAGE)
    good, last = new_mirror(), new_mirror()
    monkeypatch.setenv("COURSE_MIRROR", f"{missing.base}/below/")
    with pytest.raises(DataError) as caught:
        download(known(login.url), tmp_path)
    assert f"{missing.base}/below/data.bin: HTTPError: 404" in caught.value.found
    download(known(login.url, good.url, last.url), tmp_path)
    assert set(missing.requests) == {"/below/data.bin"}
    assert [len(mirror.requests) for mirror in (good, last)] == [1, 0]


def test_connection_that_breaks_is_tried_again(new_mirror, tmp_path):
    mirror = new_mirror("cut once")
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert len(mirror.requests) == 2 and files_in(tmp_path) == ["data.bin"]


def test_fault_4_second_download_waits_for_the_first(new_mirror, tmp_path):
    """With torchvision, the second takes half a file for the whole: 11 of 60 such runs failed."""
    mirror = new_mirror("held")
    threads = [threading.Thread(target=download, args=(known(mirror.url), tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert mirror.half_sent.wait(60)
    assert files_in(tmp_path) != ["data.bin"], "no name stands for half a file"
    mirror.go_on.set()
    for thread in threads:
        thread.join(60)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert len(mirror.requests) == 1 and files_in(tmp_path) == ["data.bin"]


def test_fault_5_folder_that_cannot_be_written(new_mirror, folder_for_all, ordinary_user, refused):
    folder_for_all.chmod(0o555)
    with ordinary_user(), refused(DataError, "Permission denied", where=folder_for_all / "data.bin"):
        download(known(new_mirror().url), folder_for_all)
    folder_for_all.chmod(0o755)
    (folder_for_all / "data.bin").write_bytes(CONTENT)
    folder_for_all.chmod(0o555)
    with ordinary_user():  # a sound file needs no lock and no right to write
        assert download(known(), folder_for_all) == folder_for_all / "data.bin"
    assert [path.name for path in folder_for_all.iterdir()] == ["data.bin"]


def test_fault_5_full_disk_is_reported_and_leaves_nothing(new_mirror, small_disk, refused):
    disk = small_disk(100_000)
    with refused(DataError, "No space left"):
        download(known(new_mirror().url), disk)
    assert files_in(disk) == []


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
    assert "/elsewhere" not in mirror.requests
