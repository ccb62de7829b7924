"""Make a PNG picture of each diagram that is stored as SVG in course_utils/figures/diagrams, with Chromium.

python .ci/draw_diagrams.py
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

DIAGRAMS = Path(__file__).resolve().parent.parent / "course_utils" / "figures" / "diagrams"

with sync_playwright() as playwright:
    found = shutil.which("chromium") or playwright.chromium.executable_path
    page = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"]).new_page()
    for source in sorted(DIAGRAMS.glob("*.svg")):
        page.set_content(f"<body style='margin: 0'>{source.read_text(encoding='utf-8')}</body>")
        page.locator("svg").screenshot(path=source.with_suffix(".png"))
