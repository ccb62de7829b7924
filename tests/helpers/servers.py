"""What a test needs to start a JupyterLab: variables of its own, and where it answers."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

# What stands in place of JupyterLab's own defaults. All cells are in the page, so that a test sees them all;
# each cell keeps when it ran, so that a stored output is not taken for a new one; nothing asks the network.
OVERRIDES = {
    "@jupyterlab/notebook-extension:tracker": {
        "windowingMode": "none",
        "recordTiming": True,
        "scrollPastEnd": False,
    },
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},
}


def where_it_answers(runtime: Path, process: subprocess.Popen, log: Path, seconds: float = 120) -> dict:
    """Wait until a server has written down its address and token, and give both."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # written to at this moment
                return json.loads(file.read_text())
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


def own_environment(place: Path) -> dict[str, str]:
    """Return the variables of a JupyterLab that neither reads nor changes anything of its user's."""
    (place / "config" / "labconfig").mkdir(parents=True)
    (place / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(OVERRIDES))
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_DATA_DIR": str(place / "data"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(place / "workspaces"),
        "IPYTHONDIR": str(place / "ipython"),
    }
    # Bars are drawn as they are for a student: see tests/conftest.py. Under the last name a
    # kernel does not show what compiled code writes to stderr, which a student would see.
    for name in ("TQDM_MININTERVAL", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    return environment
