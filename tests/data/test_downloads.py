"""Faults 1, 4 and 5: what can happen to a download. Each is first shown the plain way, then survived.

Everything is served on loopback; sockets that lead anywhere else are refused.
"""

import dataclasses
import errno
import hashlib
import http.client
import http.server
import io
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress

import numpy as np
import pytest
from torchvision.datasets.utils import download_url

from course_utils.data import downloads
from course_utils.data.downloads import KnownFile, StayOnHttps, download
from course_utils.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
LOGIN_PAGE = b"<!DOCTYPE html><html>Please log in</html>"


class Clock:
    """Seconds that pass only when a block of a slow mirror has come: no test waits for them."""

    now = seconds_per_block = 0.0

    def __call__(self):
        self.now += self.seconds_per_block
        return self.now


class Answer(http.server.BaseHTTPRequestHandler):
    """Serve `server.content` in the way that `server.manner` names (a number: seconds per block)."""

    def do_GET(self):
        server, manner, begin, size = self.server, self.server.manner, 0, len(self.server.content)
        server.requests.append((self.path, self.headers.get("Range")))
        server.clock.seconds_per_block = manner if isinstance(manner, int) else 0
        if not server.whole_files_only:
            begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if manner == "404" or begin >= size > 0:
            return self.send_error(404 if manner == "404" else 416)
        self.send_response(302 if manner == "redirect" else 206 if begin else 200)
        if manner == "redirect":
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            return self.end_headers()
        if manner != "endless":
            self.send_header("Content-Length", str(10**15 if manner == "false length" else size - begin))
        self.end_headers()
        rest = server.content[begin:] * (100 if manner == "endless" else 1)
        half = len(rest) // 2 if manner in ("cut", "cut once", "held") else len(rest)
        self.wfile.write(rest[:half])
        server.half_sent.set()
        if manner == "held":
            server.go_on.wait(60)
            self.wfile.write(rest[half:])
        elif manner == "cut once":
            server.manner = "whole"
        return None

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # the client was killed
            super().handle()


@pytest.fixture
def new_mirror(monkeypatch):
    """Return a function that starts a server for CONTENT on loopback."""
    started, clock = [], Clock()
    monkeypatch.setattr(downloads, "monotonic", clock)

    def start(manner="whole", content=CONTENT, whole_files_only=False):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.manner, server.content, server.requests = manner, content, []
        server.whole_files_only, server.clock = whole_files_only, clock
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
    mirror, plain, folder = new_mirror(content=sent), tmp_path / "plain", tmp_path / "course"
    with pytest.raises(RuntimeError) as error:
        download_url(mirror.url, plain, md5=MD5)
    assert str(plain) not in str(error.value) and files_in(plain) == ["data.bin"], "the fault is not there"

    with refused(DataError) as caught:
        download(known(mirror.url), folder)
    error = caught.value
    assert error.where == str(folder / "data.bin") and str(folder) in error.do
    assert mirror.url in error.expected and "300,000 bytes" in error.expected and MD5 in error.expected
    assert f"{len(sent):,} bytes" in error.found and hashlib.sha256(sent).hexdigest() in error.found
    assert ("login page" in error.found) == (sent == LOGIN_PAGE)
    assert files_in(folder) == []
    mirror.content = CONTENT
    assert download(known(mirror.url), folder).read_bytes() == CONTENT


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
    mirror.content = LOGIN_PAGE
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT


# Mirrors, and a download that was cut. (torchvision resumes no download: it starts over.)


def test_mirrors_are_tried_in_order_and_the_classrooms_own_comes_first(new_mirror, tmp_path, monkeypatch):
    missing, login = new_mirror("404"), new_mirror(content=LOGIN_PAGE)
    good, last = new_mirror(), new_mirror()
    monkeypatch.setenv("COURSE_MIRROR", f"{missing.base}/below/")
    with pytest.raises(DataError) as caught:
        download(known(login.url), tmp_path)
    assert f"{missing.base}/below/data.bin: HTTPError" in caught.value.found and "404" in caught.value.found
    assert f"{login.url}: 41 bytes" in caught.value.found
    download(known(login.url, good.url, last.url), tmp_path)
    assert [path for path, _ in missing.requests] == ["/below/data.bin"] * 2
    assert [len(mirror.requests) for mirror in (login, good, last)] == [2, 1, 0]


def test_cut_download_is_resumed_at_once_where_it_broke(new_mirror, tmp_path):
    mirror = new_mirror("cut once")
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert [range_ for _, range_ in mirror.requests] == [None, "bytes=150000-"]
    assert files_in(tmp_path) == ["data.bin"]


def test_cut_download_is_resumed_by_the_next_run_from_another_mirror(new_mirror, tmp_path):
    with pytest.raises(DataError, match="cut after"):
        download(known(new_mirror("cut").url), tmp_path)
    (piece,) = tmp_path.glob("*.part")
    size = piece.stat().st_size
    assert 0 < size < len(CONTENT)
    mirror = new_mirror()
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert mirror.requests == [("/data.bin", f"bytes={size}-")]
    assert files_in(tmp_path) == ["data.bin"]


@pytest.mark.parametrize(
    ("sizes", "first"),
    [
        ([1000, 200_000, 50], None),  # of several pieces the largest is resumed
        ([200_000], ("whole", CONTENT)),  # a server that sends only whole files is asked once
        ([200_000], ("whole", LOGIN_PAGE)),
        ([200_000], (20, CONTENT)),  # slow, and sends only whole files
    ],
    ids=["largest", "whole files", "login page", "slow"],
)
def test_pieces_that_are_here_are_not_lost(sizes, first, new_mirror, tmp_path):
    for number, size in enumerate(sizes):
        (tmp_path / f"data.bin.{number}123abcd.part").write_bytes(CONTENT[:size])
    tried = [new_mirror(*first, whole_files_only=True)] if first else []
    good = new_mirror()
    assert download(known(*(mirror.url for mirror in (*tried, good))), tmp_path).read_bytes() == CONTENT
    expected = [("/data.bin", "bytes=200000-")]
    assert all(mirror.requests == expected for mirror in tried)
    assert good.requests == ([] if first == ("whole", CONTENT) else expected)
    assert files_in(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("whole_files_only", [False, True])
@pytest.mark.parametrize("piece", [b"another beginning", CONTENT + b"too long"], ids=["altered", "too long"])
def test_piece_that_does_not_fit_is_thrown_away(piece, whole_files_only, new_mirror, tmp_path):
    (tmp_path / "data.bin.0123abcd.part").write_bytes(piece)
    mirror = new_mirror(whole_files_only=whole_files_only)
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert len(mirror.requests) == (1 if whole_files_only else 2)
    assert files_in(tmp_path) == ["data.bin"]


def test_piece_of_another_user_is_neither_resumed_nor_removed(new_mirror, tmp_path, monkeypatch):
    piece, mirror = tmp_path / "data.bin.0123abcd.part", new_mirror()
    piece.write_bytes(CONTENT[:200_000])
    monkeypatch.setattr(downloads.os, "geteuid", lambda: piece.stat().st_uid + 1)
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert mirror.requests == [("/data.bin", None)] and piece.read_bytes() == CONTENT[:200_000]


def test_lock_that_is_a_link_is_refused_and_its_target_is_left_as_it_is(new_mirror, tmp_path, refused):
    target = tmp_path / "thesis.txt"
    target.write_text("mine")
    (tmp_path / "data.bin.lock").symlink_to(target)
    with refused(DataError, match="cannot be written") as caught:
        download(known(new_mirror().url), tmp_path)
    assert "data.bin.lock" in caught.value.found and target.read_text() == "mine"


# Mirrors that are alive and of no use


@pytest.mark.parametrize("seconds", [5, 20, 7_000_000], ids=lambda seconds: f"{seconds} seconds per block")
def test_slow_mirror_is_left_for_the_next_and_its_bytes_are_kept(seconds, new_mirror, tmp_path, capsys):
    content = np.random.default_rng(1).bytes(4_000_000)
    slow, good = new_mirror(seconds, content), new_mirror(content=content)
    file = known(slow.url, good.url, sha256=hashlib.sha256(content).hexdigest(), md5="", size=len(content))
    assert download(file, tmp_path).read_bytes() == content
    assert len(slow.requests) == 1
    ((_, requested),) = good.requests
    assert 0 < int(re.fullmatch(r"bytes=(\d+)-", requested)[1]) < len(content), "nothing was kept"
    printed = capsys.readouterr().out
    assert f"127.0.0.1:{slow.server_port}" in printed and "kB/s" in printed and "next mirror" in printed


@pytest.mark.parametrize("others", [["404"], [60_000], [60_000, "404"]], ids=str)
def test_fastest_of_the_slow_mirrors_is_taken_if_no_other_is_better(others, new_mirror, tmp_path, capsys):
    slow, others = new_mirror(20), [new_mirror(manner) for manner in others]
    urls = [mirror.url for mirror in (*others[:1], slow, *others[1:])]
    assert download(known(*urls), tmp_path).read_bytes() == CONTENT
    assert len(slow.requests) == 2 and [len(mirror.requests) for mirror in others] == [1] * len(others)
    assert re.fullmatch(r"bytes=[1-9]\d*-", slow.requests[1][1])
    assert f"back to 127.0.0.1:{slow.server_port}" in capsys.readouterr().out


def test_only_mirror_may_be_slow(new_mirror, tmp_path, capsys):
    slow = new_mirror(20)
    assert download(known(slow.url), tmp_path).read_bytes() == CONTENT
    assert len(slow.requests) == 1 and "mirror" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("manner", "changes"),
    [("endless", {}), ("false length", {}), ("endless", {"md5": "", "size": None, "limit": 301_000})],
    ids=["endless", "false length", "size known about"],
)
def test_more_than_the_file_is_not_taken_and_the_next_mirror_is_asked(
    manner, changes, new_mirror, tmp_path, monkeypatch
):
    junk = np.random.default_rng(2).bytes(200_000)
    monkeypatch.setattr(downloads, "open", open_on_full_disk(room=900_000), raising=False)
    bad, good = new_mirror(manner, junk), new_mirror()
    assert download(known(bad.url, good.url, **changes), tmp_path).read_bytes() == CONTENT
    assert len(bad.requests) == 1 and files_in(tmp_path) == ["data.bin"]


# 4. Two at once


def test_fault_4_name_never_stands_for_half_a_file(new_mirror, tmp_path):
    """Another process takes half a file for the whole. With torchvision, 11 of 60 such runs failed."""
    plain, course, mirror = tmp_path / "plain", tmp_path / "course", new_mirror("held")
    for get, half in (
        (lambda: download_url(mirror.url, plain, md5=MD5), "plain/data.bin"),
        (lambda: download(known(mirror.url), course), "course/data.bin.*.part"),
    ):
        thread = threading.Thread(target=get)
        thread.start()
        wait_until(lambda half=half: any(path.stat().st_size for path in tmp_path.glob(half)))
        assert (plain / "data.bin").is_file(), "the fault is not there"
        assert not (course / "data.bin").exists()
        mirror.go_on.set()
        thread.join()
        mirror.go_on.clear()
    assert (course / "data.bin").read_bytes() == CONTENT


DOWNLOAD = """
import sys
from pathlib import Path
from course_utils.data import KnownFile, download
url, folder, next_url, next_folder, sha256 = sys.argv[1:]
download(KnownFile("data.bin", (url,), sha256), Path(folder))
download(KnownFile("data.bin", (next_url,), sha256), Path(next_folder))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_fault_4_two_processes_fetch_the_same_file_and_one_is_killed_in_the_next(
    new_mirror, tmp_path, capsys
):
    one, other = new_mirror("held"), new_mirror("held")
    folders, printed = [tmp_path / "one", tmp_path / "other"], []
    arguments = [one.url, folders[0], other.url, folders[1], known().sha256]
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, *map(str, arguments)])
    assert one.half_sent.wait(60)
    thread = threading.Thread(target=download, args=(known(one.url), folders[0]))
    thread.start()
    wait_until(lambda: printed.append(capsys.readouterr().out) or "".join(printed))
    assert printed[-1].startswith("Another process is fetching data.bin")
    one.go_on.set()
    thread.join(60)
    assert (folders[0] / "data.bin").read_bytes() == CONTENT
    assert len(one.requests) == 1 and files_in(folders[0]) == ["data.bin"]

    wait_until(lambda: any(piece.stat().st_size for piece in folders[1].glob("*.part")))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (piece,) = folders[1].glob("*.part")
    size, other.manner = piece.stat().st_size, "whole"
    assert download(known(other.url), folders[1]).read_bytes() == CONTENT
    assert other.requests[-1] == ("/data.bin", f"bytes={size}-")
    assert files_in(folders[1]) == ["data.bin"]


# 5. A folder that cannot be written, a full disk, and http where https was asked for


def open_on_full_disk(room):
    """Return an `open` on a disk on which a file may have so many bytes and no more."""

    class FullDisk(io.FileIO):
        def write(self, block):
            if self.tell() + len(block) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(block)

    def open_file(path, mode="r", *arguments, **options):
        return FullDisk(path, mode) if "b" in mode and mode != "rb" else open(path, mode)

    return open_file


def test_fault_5_full_disk_is_reported_and_leaves_nothing(new_mirror, tmp_path, monkeypatch, refused):
    mirror, plain, folder = new_mirror(), tmp_path / "plain", tmp_path / "course"

    monkeypatch.setattr(downloads, "open", open_on_full_disk(150_000), raising=False)
    monkeypatch.setattr(downloads, "BLOCK", 2**15)
    monkeypatch.setattr("torchvision.datasets.utils.open", open_on_full_disk(150_000), raising=False)
    with pytest.raises(OSError, match="No space") as error:
        download_url(mirror.url, plain, md5=MD5)
    assert str(plain) not in str(error.value) and files_in(plain) == ["data.bin"], "the fault is not there"

    with refused(DataError, match="No space", where=folder / "data.bin") as caught:
        download(known(mirror.url), folder)
    assert "300,000 bytes" in caught.value.expected
    assert re.search(r"[\d,]+ bytes are free", caught.value.found)
    assert files_in(folder) == []


def test_fault_5_too_little_room_is_reported_before_a_byte_is_written(new_mirror, tmp_path, monkeypatch):
    little = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: little)
    with pytest.raises(DataError, match="1,000 bytes are free"):
        download(known(new_mirror().url), tmp_path)
    assert files_in(tmp_path) == []


def test_fault_5_folder_that_cannot_be_written(new_mirror, folder_for_all, ordinary_user, refused):
    mirror = new_mirror()
    folder_for_all.chmod(0o555)
    with ordinary_user():
        with pytest.raises(PermissionError):
            download_url(mirror.url, folder_for_all, md5=MD5)
        with refused(DataError, where=folder_for_all / "data.bin") as caught:
            download(known(mirror.url), folder_for_all)
    assert "Permission denied" in caught.value.found and "bytes are free" in caught.value.found
    assert "COURSE_DATA" in caught.value.do
    folder_for_all.chmod(0o755)
    (folder_for_all / "data.bin").write_bytes(CONTENT)
    folder_for_all.chmod(0o555)
    with ordinary_user():  # a sound file needs no lock and no right to write
        assert download(known(), folder_for_all) == folder_for_all / "data.bin"
    assert [path.name for path in folder_for_all.iterdir()] == ["data.bin"]


def test_fault_5_https_is_not_tried_again_over_http(new_mirror, tmp_path, monkeypatch):
    mirror = new_mirror()
    https = mirror.url.replace("http:", "https:")
    with monkeypatch.context() as patch:  # only the look-up of redirects is left out
        patch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
        download_url(https, tmp_path / "plain", md5=MD5)
    assert len(mirror.requests) == 1, "the fault is not there: nothing was fetched in the open"
    with pytest.raises(DataError, match="SSL"):
        download(known(https, mirror.url), tmp_path / "course")
    assert len(mirror.requests) == 1


class PlainHttps(urllib.request.HTTPSHandler):
    """https without encryption, since a test has no certificate."""

    def https_open(self, request):
        return self.do_open(http.client.HTTPConnection, request)


def test_fault_5_redirect_from_https_to_http_is_refused(new_mirror):
    mirror = new_mirror("redirect")
    https = mirror.url.replace("http:", "https:")
    with pytest.raises(urllib.request.HTTPError):  # it goes round in circles, in the open
        urllib.request.build_opener(PlainHttps).open(https)
    assert len(mirror.requests) > 1, "the fault is not there"
    mirror.requests.clear()
    with pytest.raises(OSError, match="redirected from https to http:"):
        urllib.request.build_opener(PlainHttps, StayOnHttps).open(https)
    assert len(mirror.requests) == 1
    with pytest.raises(urllib.request.HTTPError):  # from http to http it may lead
        urllib.request.build_opener(StayOnHttps).open(mirror.url)
