"""Refuse connections that leave this machine, and write them down.

Python runs this file when it starts, and so does each kernel of `pytest --nbval`: see
`notebooks/conftest.py`. What was refused is written down, too, since a
library may go on without the network that it has asked for.
"""

import os
import socket
import sys

LOOPBACK = {None, "", b"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", socket.gethostname()}


def refuse(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in LOOPBACK:
        with open(os.environ["COURSE_CONNECTIONS"], "a", encoding="utf-8") as file:
            print(f"{event}: {host}", file=file)
        raise OSError(f"{host}: there is no network in this test")


if "COURSE_CONNECTIONS" in os.environ:
    sys.addaudithook(refuse)
