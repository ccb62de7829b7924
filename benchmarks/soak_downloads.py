"""Two processes download the same file at once: how often it fails.

    python benchmarks/soak_downloads.py [--pairs 50] [--way course | plain]

Everything stays on this machine: a server on loopback sends a file of random bytes and drops every seventh
connection in the middle. For each pair two processes start at once with an empty folder. A pair has failed if
either process ends with an error, if the file is not whole, or if something else is left beside it. `plain`
is torchvision's own `download_url`, for comparison; its server drops nothing, which it could not survive.
"""

import argparse
import functools
import hashlib
import http.server
import itertools
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

CONTENT = random.Random(0).randbytes(4_000_000)

WAYS = {
    "course": """
import sys, pathlib
from course_utils.downloads import KnownFile, download
url, sha256, md5, folder = sys.argv[1:]
sys.stdin.readline()
download(KnownFile("data.bin", (url,), f"sha256:{sha256}"), pathlib.Path(folder))
""",
    "plain": """
import sys
from torchvision.datasets.utils import check_integrity, download_url
url, sha256, md5, folder = sys.argv[1:]
sys.stdin.readline()
download_url(url, folder, md5=md5)
assert check_integrity(f"{folder}/data.bin", md5), "downloaded, but not whole"
""",
}


class Answer(http.server.BaseHTTPRequestHandler):
    """Serve CONTENT, and drop every seventh connection if `drops`."""

    numbers = itertools.count(1)

    def __init__(self, *arguments, drops: bool):
        self.drops = drops
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        dropped = self.drops and next(self.numbers) % 7 == 0
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if dropped else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


def run_pair(url: str, way: str, folder: Path) -> list[str]:
    """Start two processes at once; return the problems."""
    sums = [hashlib.new(name, CONTENT).hexdigest() for name in ("sha256", "md5")]
    command = [sys.executable, "-c", WAYS[way], url, *sums, str(folder)]
    pipe = subprocess.PIPE
    pair = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in pair:  # both wait for a line, so that neither is ahead by the time its imports take
        process.stdin.write("\n")
        process.stdin.flush()
    problems = []
    for process in pair:
        _, errors = process.communicate(timeout=120)
        if process.returncode:
            problems.append(errors.strip().splitlines()[-1])
    files = {path.name for path in folder.iterdir()} - {"data.bin.lock"}
    if files != {"data.bin"} or (folder / "data.bin").read_bytes() != CONTENT:
        problems.append(f"not one whole file, but {sorted(files)}")
    return problems


def run_pairs(count: int, way: str) -> int:
    """Run so many pairs of processes; print the problems, and return in how many pairs there were any."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Answer, drops=way == "course")
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    failed = 0
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            problems = run_pair(f"http://127.0.0.1:{server.server_port}/data.bin", way, Path(folder))
        failed += bool(problems)
        for problem in problems:
            print(f"pair {number}: {problem}")
    server.shutdown()
    print(f"{way}: {count} pairs of processes tried, {failed} failed")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--way", choices=WAYS, default="course")
    options = parser.parse_args()
    sys.exit(1 if run_pairs(options.pairs, options.way) else 0)


if __name__ == "__main__":
    main()
