"""Somebody who opens a notebook in JupyterLab, runs it and looks at it: with a mouse and keys, in a browser.

What is found on the page is found by JupyterLab's own class names and by the words on its buttons.
"""

import contextlib
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import nbformat

WIDE, NARROW = (1280, 900), (390, 844)

# The longest picture of a page that Chromium makes in one piece, in pixels.
LONGEST = 16_000

FOLLOW_BARS = """() => {
  window.barsSeen = new Map();
  const look = () => document.querySelectorAll('.widget-hprogress').forEach((bar, number) => {
    const text = bar.closest('.widget-hbox')?.textContent ?? '';
    const label = text.split(':')[0].replace(/\\s+/g, ' ').trim();
    if (bar.getBoundingClientRect().width > 0) window.barsSeen.set(label, text);
  });
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""

# A cell that is folded up, as that for Colab is, has a placeholder without a number.
PROMPTS = ".jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)"
FOLDED = ".jp-CodeCell .jp-Placeholder-prompt"

# The numbers of the cells, "[*]:" for those that wait or run, and what the kernel does.
STATE = f"""() => ({{
  prompts: [...document.querySelectorAll('{PROMPTS}')].map(p => p.textContent),
  kernel: document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status,
}})"""

# Whether the first cell has its number, which was taken from it before.
BEGUN = f"() => /[0-9]/.test(({STATE})().prompts[0])"

# Whether the cells that were started have come to their end, one way or another.
AT_REST = f"""() => {{
  const {{prompts, kernel}} = ({STATE})();
  return kernel === 'idle' && !prompts.some(text => text.includes('*'));
}}"""

FULL_BARS = """() => [...document.querySelectorAll('.jp-OutputArea .widget-hprogress')].map(bar => {
  const drawn = bar.querySelector('.progress-bar');
  return {
    text: bar.closest('.widget-hbox')?.textContent.replace(/\\s+/g, ' ').trim() ?? '',
    share: drawn.getBoundingClientRect().width / bar.querySelector('.progress').getBoundingClientRect().width,
    failed: drawn.classList.contains('progress-bar-danger'),
  };
})"""

# What an eye takes for red: the cell's number and the first words.
RED = """() => {
  const found = [];
  for (const [number, cell] of document.querySelectorAll('.jp-Cell').entries())
    for (const part of cell.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')) {
      const [r, g, b, a = 1] = (getComputedStyle(part).backgroundColor.match(/[\\d.]+/g) ?? []).map(Number);
      if (a > 0 && r > g + 10 && r > b + 10 && part.matches('.jp-RenderedText, .jp-RenderedText *'))
        found.push(`cell ${number + 1}: ${part.textContent.slice(0, 200)}`);
    }
  return found;
}"""

# What stands out of the window on the right, and cannot be scrolled to either.
CUT_OFF = """() => {
  const scrolls = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
  const found = [];
  for (const [number, cell] of document.querySelectorAll('.jp-Cell').entries())
    for (const part of cell.querySelectorAll('table, img, pre, svg, .widget-hbox, .widget-button')) {
      const box = part.getBoundingClientRect();
      let parent = part;
      while (parent !== cell && !scrolls(parent)) parent = parent.parentElement;
      const cut = box.width && box.right > window.innerWidth + 1 && parent === cell;
      if (cut && !part.closest('.jp-Placeholder'))
        found.push(`cell ${number + 1}: ${part.tagName} ends at ${Math.round(box.right)}`);
    }
  return found;
}"""

# What a restart itself leaves behind on the page.
DROPPED = re.compile("Canceled future for (kernel_info|create_subshell)_request message")


class Student:
    """One window of JupyterLab."""

    def __init__(self, browser, jupyterlab, screenshots: Path):
        self.jupyterlab, self.screenshots, self.size = jupyterlab, screenshots, WIDE
        self.page = browser.new_page(viewport={"width": WIDE[0], "height": WIDE[1]})
        self.asked_elsewhere, self.page_errors = [], []
        self.page.on("request", self._note_request)
        self.page.on("pageerror", lambda error: self.page_errors.append(str(error)))

    def _note_request(self, request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.asked_elsewhere.append(request.url)

    def leave(self) -> None:
        self.page.close()
        self.jupyterlab.end_kernels()

    def open(self, path: str) -> None:
        """Start JupyterLab, go through the folders of its file browser, and open a notebook."""
        self.file = self.jupyterlab.folder / path
        self.page.goto(self.jupyterlab.page())
        *folders, file = Path(path).parts
        for name in folders:
            self._entry(name).dblclick()
            # Until it is gone the list is the old one, in which an exercise's lesson has the same name.
            self._entry(name).wait_for(state="detached")
        self._entry(file).dblclick()
        self.page.locator(".jp-NotebookPanel").wait_for()
        self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=60_000)
        # JupyterLab draws the cells one after the other; the kernel may be there before the last of them.
        cells = nbformat.read(self.file, as_version=4).cells
        code = sum(cell.cell_type == "code" for cell in cells)
        drawn = f"code => document.querySelectorAll('{PROMPTS}, {FOLDED}').length === code"
        self.page.wait_for_function(drawn, arg=code, timeout=60_000)

    def _entry(self, name: str):
        entries = self.page.locator(".jp-DirListing-item")
        return entries.filter(has=self.page.get_by_text(name, exact=True)).first

    def choose(self, menu: str, *entries: str) -> None:
        """Choose an entry of a menu, or of the menu in a menu, by the words with which it begins."""
        self.page.locator(".lm-MenuBar-item").filter(has_text=re.compile(f"^{menu}$")).click()
        for depth, words in enumerate(entries):
            # Menus that were opened later stand later in the page.
            open_menu = self.page.locator(".lm-Menu").nth(depth)
            label = self.page.locator(".lm-Menu-itemLabel").filter(has_text=re.compile(f"^{words}"))
            open_menu.locator(".lm-Menu-item").filter(has=label).first.click()

    def restart_and_run_all(self, seconds: float, tries: int = 3) -> float:
        """Restart the kernel, run all cells, wait for the end; give the seconds that it took.

        A kernel that is asked the moment it is back may never answer, on a busy machine above all. Then the
        student restarts it once more, as anybody would; `restarts` counts how often.
        """
        self.page.evaluate(FOLLOW_BARS)
        for self.restarts in range(1, tries + 1):
            self.page_errors.clear()  # a kernel that did not answer leaves some behind
            self.choose("Edit", "Clear Outputs of All Cells")
            self.choose("Run", "Restart Kernel and Run All Cells")
            self.page.locator(".jp-Dialog .jp-mod-accept").click()
            begin = time.monotonic()
            if self._comes_true(BEGUN, 60):
                # JupyterLab drops what it was asking the old kernel, and reports that as an error of its own.
                self.page_errors = [error for error in self.page_errors if not DROPPED.search(error)]
                break
        if not self._comes_true(AT_REST, seconds):
            raise AssertionError(f"no end after {seconds} s: {self.page.evaluate(STATE)}")
        return time.monotonic() - begin

    def _comes_true(self, script: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.page.evaluate(script):
                return True
            self.page.wait_for_timeout(250)
        return False

    def bars(self) -> list[dict]:
        """Give text, drawn share and colour of every progress bar on the page, when all have ended."""
        self._comes_true(f"() => ({FULL_BARS})().every(bar => bar.failed || bar.share > 0.99)", 20)
        return self.page.evaluate(FULL_BARS)

    def bars_seen(self) -> list[str]:
        """Give the labels of all the bars that were drawn while cells ran."""
        return self.page.evaluate("() => [...window.barsSeen.keys()]")

    def upload(self, picture: Path):
        """Choose a file with lesson 09's upload button; give the answer below it, when it has changed."""
        button = self.page.locator(".jp-OutputArea button.widget-upload")
        answer = self.page.locator(".jp-CodeCell").filter(has=button).locator(".widget-html-content")
        before = answer.inner_html()
        with self.page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files(picture)
        changed = "([e, before]) => e.innerHTML !== before"
        self.page.wait_for_function(changed, arg=[answer.element_handle(), before], timeout=30_000)
        return answer

    def save(self) -> nbformat.NotebookNode:
        """Save as with the keys, and read the file."""
        before = self.file.stat().st_mtime_ns
        self.page.locator(".jp-NotebookPanel .jp-Notebook").first.click(position={"x": 3, "y": 3})
        self.page.keyboard.press("Control+s")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.file.stat().st_mtime_ns != before:
                with contextlib.suppress(nbformat.reader.NotJSONError):  # written to at this moment
                    return nbformat.read(self.file, as_version=4)
            self.page.wait_for_timeout(100)
        raise AssertionError("the notebook was not saved")

    def theme(self, name: str) -> None:
        """Choose the theme "Light" or "Dark" from the menu."""
        self.choose("Settings", "Theme$", f"JupyterLab {name}$")
        light = str(name == "Light").lower()
        self.page.locator(f'body[data-jp-theme-light="{light}"]').wait_for(state="attached")

    def resize(self, size: tuple[int, int]) -> None:
        self.size = size
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        opened = self.page.locator(".jp-SideBar.jp-mod-left .lm-TabBar-tab.lm-mod-current")
        if size == NARROW and opened.count():
            opened.first.click()  # closes the file browser, which leaves no room for the notebook

    def photograph(self, name: str) -> list[Path]:
        """Keep pictures of the whole notebook, from the top to the bottom, in as few pieces as can be."""
        notebook = self.page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
        outside = self.size[1] - notebook.evaluate("e => e.clientHeight")
        notebook.evaluate("e => e.scrollTo(0, 0)")
        height = notebook.evaluate("e => e.scrollHeight")
        self.page.set_viewport_size({"width": self.size[0], "height": min(height + outside, LONGEST)})
        step, kept = min(height, LONGEST - outside), []
        for piece, top in enumerate(range(0, height, step)):
            notebook.evaluate("(e, top) => e.scrollTo(0, top)", top)
            kept.append(self.screenshots / f"{name}{f'_{piece + 1}' if height > step else ''}.png")
            self.page.screenshot(path=kept[-1])
        self.resize(self.size)
        notebook.evaluate("e => e.scrollTo(0, 0)")
        return kept
