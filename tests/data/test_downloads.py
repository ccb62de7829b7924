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
from course_utils.data.downloads import KnownFile, StayOnHttps, download, mirrors
from course_utils.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
LOGIN_PAGE = b"<!DOCTYPE html><html>Please log in</html>"


class Clock:
    """Seconds that pass only when a stand-in for a slow mirror says so: no test waits for them."""

    def __init__(self):
        self.now, self.was_read = 0.0, threading.Event()

    def __call__(self):
        self.was_read.set()
        return self.now


class Answer(http.server.BaseHTTPRequestHandler):
    """Serve `server.content` in the way that `server.manner` names, and note every request.

    A number as manner is a rate in bytes a second: the course's clock goes on before each piece, and the next
    piece waits until the course has looked at it.
    """

    def do_GET(self):
        server, begin = self.server, 0
        server.asked.append((self.path, self.headers.get("Range")))
        if server.manner == "404":
            return self.send_error(404)
        if server.manner == "redirect":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        asked_for = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked_for and server.manner != "no ranges" and not server.whole_files_only:
            begin = int(asked_for[1])
            if begin >= len(server.content):
                return self.send_error(416)
        self.send_response(206 if begin else 200)
        if begin:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{last + 1}")
        if server.manner != "endless":
            promised = 10**15 if server.manner == "false length" else len(server.content) - begin
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        rest = server.content[begin:]
        if server.manner == "endless":
            for _ in range(100):
                self.wfile.write(rest)
        elif isinstance(server.manner, float):
            step = max(1, int(server.manner))
            for start in range(0, len(rest), step):
                server.clock.was_read.clear()
                server.clock.now += step / server.manner
                self.wfile.write(rest[start : start + step])
                server.clock.was_read.wait(5)
        elif server.manner in ("cut", "cut once", "held"):
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            server.half_sent.set()
            if server.manner == "held":
                server.go_on.wait(60)
                self.wfile.write(rest[len(rest) // 2 :])
            elif server.manner == "cut once":
                server.manner = "whole"
        else:
            self.wfile.write(rest)
        return None

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # whoever asked was killed
            super().handle()


@pytest.fixture
def clock(monkeypatch):
    """Give the clock by which the course measures the rate of a mirror."""
    monkeypatch.setattr(downloads, "monotonic", Clock())
    return downloads.monotonic


@pytest.fixture
def new_mirror(clock):
    """Return a function that starts a server for CONTENT on loopback."""
    started = []

    def start(manner="whole", content=CONTENT):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.manner, server.content, server.asked = manner, content, []
        server.whole_files_only = False
        server.half_sent, server.go_on, server.clock = threading.Event(), threading.Event(), clock
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
def test_fault_1_wrong_content_never_gets_the_name(sent, new_mirror, tmp_path, assert_says_four_things):
    mirror, plain, folder = new_mirror(content=sent), tmp_path / "plain", tmp_path / "course"
    with pytest.raises(RuntimeError) as told:
        download_url(mirror.url, plain, md5=MD5)
    assert str(plain) not in str(told.value) and files_in(plain) == ["data.bin"], "the fault is not there"

    with pytest.raises(DataError) as caught:
        download(known(mirror.url), folder)
    assert_says_four_things(caught.value)
    error = caught.value
    assert error.where == str(folder / "data.bin") and str(folder) in error.do
    assert mirror.url in error.expected and "300,000 bytes" in error.expected and MD5 in error.expected
    assert f"{len(sent):,} bytes" in error.found and hashlib.sha256(sent).hexdigest() in error.found
    assert ("login page" in error.found) == (sent == LOGIN_PAGE)
    assert files_in(folder) == []
    mirror.content = CONTENT
    assert download(known(mirror.url), folder).read_bytes() == CONTENT


def test_fault_1_good_file_is_not_replaced_and_a_bad_one_is_set_aside(new_mirror, tmp_path):
    mirror, path = new_mirror(content=LOGIN_PAGE), tmp_path / "data.bin"
    path.write_bytes(b"what a student put there")
    with pytest.raises(DataError):
        download(known(mirror.url), tmp_path)
    assert path.read_bytes() == b"what a student put there", "replaced before there was a right one"
    mirror.content = CONTENT
    download(known(mirror.url), tmp_path)
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "data.bin.bad").read_bytes() == b"what a student put there"
    mirror.content = LOGIN_PAGE
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT


# Mirrors, and a download that was cut. (torchvision takes no download up again: it starts over.)


def test_mirrors_are_tried_in_order_and_the_classrooms_own_comes_first(new_mirror, tmp_path, monkeypatch):
    missing, login = new_mirror("404"), new_mirror(content=LOGIN_PAGE)
    good, last = new_mirror(), new_mirror()
    monkeypatch.setenv("COURSE_MIRROR", f"{missing.base}/below/")
    download(known(login.url, good.url, last.url), tmp_path)
    assert [path for path, _ in missing.asked] == ["/below/data.bin"]
    assert [len(mirror.asked) for mirror in (login, good, last)] == [1, 1, 0]


def test_own_mirror_may_be_a_folder(tmp_path, monkeypatch):
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "data.bin").write_bytes(CONTENT)
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "stick"))
    assert download(known("https://example.org/data.bin"), tmp_path / "here").read_bytes() == CONTENT


def test_all_mirrors_that_failed_are_told(new_mirror, tmp_path):
    missing, login = new_mirror("404"), new_mirror(content=LOGIN_PAGE)
    with pytest.raises(DataError) as caught:
        download(known(missing.url, login.url), tmp_path)
    assert f"{missing.url}: HTTPError" in caught.value.found and "404" in caught.value.found
    assert f"{login.url}: 41 bytes" in caught.value.found


def test_cut_download_is_taken_up_at_once_where_it_broke(new_mirror, tmp_path):
    mirror = new_mirror("cut once")
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in mirror.asked] == [None, "bytes=150000-"]
    assert files_in(tmp_path) == ["data.bin"]


def test_cut_download_is_taken_up_by_the_next_run_from_another_mirror(new_mirror, tmp_path):
    with pytest.raises(DataError, match="cut after"):
        download(known(new_mirror("cut").url), tmp_path)
    (piece,) = tmp_path.glob("*.part")
    size = piece.stat().st_size
    assert 0 < size < len(CONTENT)
    mirror = new_mirror()
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [("/data.bin", f"bytes={size}-")]
    assert files_in(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("manner", ["whole", "no ranges"])
@pytest.mark.parametrize("piece", [b"another beginning", CONTENT + b"too long"], ids=["altered", "too long"])
def test_piece_that_does_not_fit_is_thrown_away(piece, manner, new_mirror, tmp_path):
    (tmp_path / "data.bin.0123abcd.part").write_bytes(piece)
    mirror = new_mirror(manner)
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert files_in(tmp_path) == ["data.bin"]


def test_server_that_sends_only_whole_files_is_asked_once(new_mirror, tmp_path):
    (tmp_path / "data.bin.0123abcd.part").write_bytes(CONTENT[:200_000])
    mirror = new_mirror("no ranges")
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [("/data.bin", "bytes=200000-")]


def test_largest_piece_is_taken_up_and_none_is_left(new_mirror, tmp_path):
    for name, size in (("0123abcd", 1000), ("123abcde", 200_000), ("23abcdef", 50)):
        (tmp_path / f"data.bin.{name}.part").write_bytes(CONTENT[:size])
    mirror = new_mirror()
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [("/data.bin", "bytes=200000-")]
    assert files_in(tmp_path) == ["data.bin"]


def test_login_page_does_not_cost_the_piece_that_is_here(new_mirror, tmp_path):
    piece = tmp_path / "data.bin.0123abcd.part"
    piece.write_bytes(CONTENT[:200_000])
    login, good = new_mirror("no ranges", LOGIN_PAGE), new_mirror()
    download(known(login.url, good.url), tmp_path)
    assert good.asked == [("/data.bin", "bytes=200000-")]


# Mirrors that are alive and of no use


@pytest.mark.parametrize("rate", [50_000.0, 20_000.0, 0.05], ids=lambda rate: f"{rate:g} bytes a second")
def test_slow_mirror_is_left_for_the_next_and_its_bytes_are_kept(rate, new_mirror, tmp_path, capsys):
    content = np.random.default_rng(1).bytes(4_000_000 if rate > 1 else 2_000)
    slow, good = new_mirror(rate, content), new_mirror(content=content)
    file = known(slow.url, good.url, sha256=hashlib.sha256(content).hexdigest(), md5="", size=len(content))
    assert download(file, tmp_path).read_bytes() == content
    assert len(slow.asked) == 1
    ((_, asked_for),) = good.asked
    assert 0 < int(re.fullmatch(r"bytes=(\d+)-", asked_for)[1]) < len(content), "nothing was kept"
    told = capsys.readouterr().out
    assert f"127.0.0.1:{slow.server_port}" in told and "kB/s" in told and "next mirror" in told


@pytest.mark.parametrize("others", [["404"], [500.0], [500.0, "404"]], ids=str)
def test_fastest_of_the_slow_mirrors_is_taken_if_no_other_is_better(others, new_mirror, tmp_path, capsys):
    slow, others = new_mirror(2_000.0), [new_mirror(manner) for manner in others]
    urls = [mirror.url for mirror in (*others[:1], slow, *others[1:])]
    assert download(known(*urls), tmp_path).read_bytes() == CONTENT
    assert len(slow.asked) == 2 and [len(mirror.asked) for mirror in others] == [1] * len(others)
    begin = slow.asked[1][1]
    assert begin and int(begin.removeprefix("bytes=").removesuffix("-")) > 0
    assert f"back to 127.0.0.1:{slow.server_port}" in capsys.readouterr().out


def test_only_mirror_may_be_slow(new_mirror, tmp_path, capsys):
    slow = new_mirror(2_000.0)
    assert download(known(slow.url), tmp_path).read_bytes() == CONTENT
    assert len(slow.asked) == 1 and "mirror" not in capsys.readouterr().out


def test_slow_mirror_that_sends_only_whole_files_does_not_cost_the_bytes_that_are_here(new_mirror, tmp_path):
    (tmp_path / "data.bin.0123abcd.part").write_bytes(CONTENT[:290_000])
    slow, good = new_mirror(2_000.0), new_mirror()
    slow.whole_files_only = True
    assert download(known(slow.url, good.url), tmp_path).read_bytes() == CONTENT
    assert good.asked == [("/data.bin", "bytes=290000-")]


@pytest.mark.parametrize("manner", ["endless", "false length"])
def test_more_than_the_file_is_not_taken_and_the_next_mirror_is_asked(
    manner, new_mirror, tmp_path, monkeypatch
):
    junk = np.random.default_rng(2).bytes(200_000)
    monkeypatch.setattr(downloads, "open", open_on_full_disk(room=900_000), raising=False)
    bad, good = new_mirror(manner, junk), new_mirror()
    assert download(known(bad.url, good.url), tmp_path).read_bytes() == CONTENT
    assert len(bad.asked) == 1 and files_in(tmp_path) == ["data.bin"]


def test_file_whose_size_is_known_about_is_not_read_for_ever(new_mirror, tmp_path, monkeypatch):
    junk = np.random.default_rng(2).bytes(200_000)
    monkeypatch.setattr(downloads, "open", open_on_full_disk(room=900_000), raising=False)
    bad, good = new_mirror("endless", junk), new_mirror()
    file = known(bad.url, good.url, md5="", size=None, limit=301_000)
    assert download(file, tmp_path).read_bytes() == CONTENT


DOWNLOAD = """
import sys
from pathlib import Path
from course_utils.data.downloads import KnownFile, download
url, sha256, folder = sys.argv[1:]
download(KnownFile("data.bin", (url,), sha256), Path(folder))
"""


def start_process(url, folder):
    command = [sys.executable, "-c", DOWNLOAD, url, known().sha256, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_piece_of_a_killed_process_is_taken_up(new_mirror, tmp_path):
    mirror = new_mirror("held")
    process = start_process(mirror.url, tmp_path)
    wait_until(lambda: any(piece.stat().st_size for piece in tmp_path.glob("*.part")))
    process.kill()
    process.communicate()
    mirror.go_on.set()
    assert not (tmp_path / "data.bin").exists()
    (piece,) = tmp_path.glob("*.part")
    begin = piece.stat().st_size
    mirror.manner = "whole"
    assert download(known(mirror.url), tmp_path).read_bytes() == CONTENT
    assert mirror.asked[-1] == ("/data.bin", f"bytes={begin}-")
    assert files_in(tmp_path) == ["data.bin"]


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


def test_fault_4_two_processes_fetch_the_same_file(new_mirror, tmp_path):
    mirror = new_mirror("held")
    first = start_process(mirror.url, tmp_path)
    assert mirror.half_sent.wait(60)
    second = start_process(mirror.url, tmp_path)
    assert second.stdout.readline().startswith("Another process is fetching data.bin")
    mirror.go_on.set()
    for process in (first, second):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert len(mirror.asked) == 1 and files_in(tmp_path) == ["data.bin"]


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


def test_fault_5_full_disk_is_told_and_leaves_nothing(
    new_mirror, tmp_path, monkeypatch, assert_says_four_things
):
    mirror, plain, folder = new_mirror(), tmp_path / "plain", tmp_path / "course"

    monkeypatch.setattr(downloads, "open", open_on_full_disk(150_000), raising=False)
    monkeypatch.setattr(downloads, "BLOCK", 2**15)
    monkeypatch.setattr("torchvision.datasets.utils.open", open_on_full_disk(150_000), raising=False)
    with pytest.raises(OSError, match="No space") as told:
        download_url(mirror.url, plain, md5=MD5)
    assert str(plain) not in str(told.value) and files_in(plain) == ["data.bin"], "the fault is not there"

    with pytest.raises(DataError, match="No space") as caught:
        download(known(mirror.url), folder)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(folder / "data.bin")
    assert "300,000 bytes" in caught.value.expected
    assert re.search(r"[\d,]+ bytes are free", caught.value.found)
    assert files_in(folder) == []


def test_fault_5_too_little_room_is_told_before_a_byte_is_written(new_mirror, tmp_path, monkeypatch):
    little = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: little)
    with pytest.raises(DataError, match="1,000 bytes are free"):
        download(known(new_mirror().url), tmp_path)
    assert files_in(tmp_path) == []


def test_fault_5_folder_that_cannot_be_written(
    new_mirror, folder_for_all, ordinary_user, assert_says_four_things
):
    mirror = new_mirror()
    folder_for_all.chmod(0o555)
    with ordinary_user():
        with pytest.raises(PermissionError):
            download_url(mirror.url, folder_for_all, md5=MD5)
        with pytest.raises(DataError) as caught:
            download(known(mirror.url), folder_for_all)
    assert_says_four_things(caught.value)
    assert caught.value.where == str(folder_for_all / "data.bin")
    assert "Permission denied" in caught.value.found and "bytes are free" in caught.value.found
    assert "COURSE_DATA" in caught.value.do


def test_sound_file_needs_no_lock_and_no_right_to_write(folder_for_all, ordinary_user):
    (folder_for_all / "data.bin").write_bytes(CONTENT)
    folder_for_all.chmod(0o555)
    with ordinary_user():
        assert download(known(), folder_for_all) == folder_for_all / "data.bin"
    assert [path.name for path in folder_for_all.iterdir()] == ["data.bin"]


def test_fault_5_https_is_not_tried_again_over_http(new_mirror, tmp_path, monkeypatch):
    mirror = new_mirror()
    https = mirror.url.replace("http:", "https:")
    with monkeypatch.context() as patch:  # only the look-up of redirects is left out
        patch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
        download_url(https, tmp_path / "plain", md5=MD5)
    assert len(mirror.asked) == 1, "the fault is not there: nothing was fetched in the open"
    with pytest.raises(DataError, match="SSL"):
        download(known(https, mirror.url), tmp_path / "course")
    assert len(mirror.asked) == 1


class PlainHttps(urllib.request.HTTPSHandler):
    """https without encryption, since a test has no certificate."""

    def https_open(self, request):
        return self.do_open(http.client.HTTPConnection, request)


def test_fault_5_redirect_from_https_to_http_is_refused(new_mirror):
    mirror = new_mirror("redirect")
    https = mirror.url.replace("http:", "https:")
    with pytest.raises(urllib.request.HTTPError):  # it goes round in circles, in the open
        urllib.request.build_opener(PlainHttps).open(https)
    assert len(mirror.asked) > 1, "the fault is not there"
    mirror.asked.clear()
    with pytest.raises(OSError, match="redirected from https to http:"):
        urllib.request.build_opener(PlainHttps, StayOnHttps).open(https)
    assert len(mirror.asked) == 1
    with pytest.raises(urllib.request.HTTPError):  # from http to http it may lead
        urllib.request.build_opener(StayOnHttps).open(mirror.url)


def test_after_https_comes_no_http(monkeypatch):
    http, https = "http://example.org/data.bin", "https://example.org/data.bin"
    assert mirrors(known(http, https, http)) == [http, https]
    monkeypatch.setenv("COURSE_MIRROR", "http://classroom/")
    assert mirrors(known(https)) == ["http://classroom/data.bin", https]
