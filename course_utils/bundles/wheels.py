"""Which packages does the course need, and which version of each is installed here?"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from course_utils.errors import ConfigError

BUILDS = "70.1"  # the first setuptools that builds the course's package by itself, without `wheel`


def wheel_list(requirements: Path) -> list[str]:
    """Return name==version of everything that a list of requirements pulls in, as it is installed here.

    A local version such as +cpu is left out, since no package index has it. `setuptools`, which builds the
    course's own package, is added.

    Args:
        requirements: The path of a requirements.txt. Lines that begin with - (-e ., -r) are left out.

    Raises:
        ConfigError: If one of the requirements is not installed, or a line cannot be read.
    """
    asked, found = [], {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        text = re.split(r"\s#|^#", line)[0].strip()
        if text and not text.startswith("-"):
            asked.append(_parsed(text, requirements))
    waiting = [requirement for requirement in asked if _applies(requirement, "")]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError as error:
            if requirement in asked:
                raise ConfigError(
                    "The list of wheels cannot be made.",
                    where=requirements,
                    expected="every package of the list installed",
                    found=f"no {requirement.name}",
                    do="pip install -r requirements.txt",
                ) from error
            continue  # pip finds what such a package needs by itself
        found[name] = installed.version.split("+")[0]
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                needed = [Requirement(text) for text in installed.requires or ()]
                waiting += [other for other in needed if _applies(other, extra)]
    found.setdefault("setuptools", _version("setuptools") or "0")  # Python 3.12 comes without
    lines = [f"{name}=={version}" for name, version in sorted(found.items())]
    if Version(found["setuptools"]) < Version(BUILDS):
        lines = [f"setuptools>={BUILDS}" if line.startswith("setuptools==") else line for line in lines]
    return lines


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def _parsed(text: str, where: Path) -> Requirement:
    try:
        return Requirement(text)
    except ValueError as error:
        raise ConfigError(
            "The list of wheels cannot be made.",
            where=where,
            expected="a line such as numpy>=2.0",
            found=f"{text!r}: {' '.join(str(error).split())[:120]}",
            do="Correct the line.",
        ) from error


def _applies(requirement: Requirement, extra: str) -> bool:
    """Tell whether a requirement counts on this machine and, of a package, for one of its extras."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
