"""What becomes of files on their way: damage, and an attack on whoever unpickles them."""

import os

DAMAGES = {
    "one flipped bit": lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "login page": lambda content: b"<!DOCTYPE html><html>Please log in</html>",
}
"""By name, from the bytes of a whole file to those that arrive."""


class MakesAFolder:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)
