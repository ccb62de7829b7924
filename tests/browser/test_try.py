"""The page `try` in a real browser: what it computes is what Python computes, and it asks no other machine.

`make site` builds it first.
"""

import base64
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from serving import serve
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_score
from visitor import look, watch

from course_utils.data.folders import FolderOfClasses
from course_utils.data.preprocessing import Preprocessing
from course_utils.evaluation.metrics import accuracy_interval
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
PAGE = "docs/try.html"
ASSETS = SITE / "_static" / "try"
CLIPART = ROOT / "data" / "clipart"
CLASSES = ("buildings", "fruit", "mammals")

made = all((ASSETS / name).exists() for name in ("backbone.onnx", "ort-wasm-simd-threaded.wasm"))
pytestmark = pytest.mark.skipif(not made, reason="the page `try` was not opened: it is not built (make site)")


@pytest.fixture(scope="module")
def address():
    with serve(SITE) as address:
        yield address + PAGE


@pytest.fixture
def opened(browser, address):
    """Give the page in a window, and a list to which all that goes wrong in it is added."""
    page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 900})
    faults = watch(page)
    page.goto(address, wait_until="load")
    yield page, faults
    page.close()


BYTES = "const bytes = file => Uint8Array.from(atob(file), letter => letter.charCodeAt(0));"

PREPROCESS = f"""async files => {{ {BYTES}
  const {{preprocess}} = await import(new URL('../_static/try/learn.js', location.href));
  const pixels = [];
  for (const file of files) pixels.push(Array.from(await preprocess(new Blob([bytes(file)]))));
  return pixels;
}}"""

EXTRACT = f"""async files => {{ {BYTES}
  const {{preprocess}} = await import(new URL('../_static/try/learn.js', location.href));
  const {{loadNetwork}} = await import(new URL('../_static/try/page.js', location.href));
  const extract = await loadNetwork(), features = [];
  for (const file of files) {{
    const pixels = await preprocess(new Blob([bytes(file)]));
    features.push(Array.from(await extract(pixels)));
  }}
  return features;
}}"""

# Returns the probabilities of the test rows, and how many of the training rows are right when left out.
CLASSIFY = """async ([rows, labels, tested]) => {
  const learn = await import(new URL('../_static/try/learn.js', location.href));
  const data = learn.prepare(rows), head = learn.train(data, labels, 3);
  const probabilities = tested.map(row => Array.from(learn.ask(data, head, row)));
  return [probabilities, learn.leaveOneOut(data, labels, 3)];
}"""

WILSON = """async counts => {
  const {wilson} = await import(new URL('../_static/try/learn.js', location.href));
  return counts.map(([correct, total]) => wilson(correct, total));
}"""


def encoded(paths):
    return [base64.b64encode(Path(path).read_bytes()).decode() for path in paths]


def drawings(split):
    preprocessing = Preprocessing.from_weights(backbone_weights(Settings()))
    return FolderOfClasses(CLIPART / split, preprocessing.transform())


def test_pixels_are_those_of_python(opened, tmp_path):
    """Drawings, and what photographs may be: large, wide, tall, tiny, turned by EXIF, transparent."""
    random = np.random.default_rng(0)
    paths = [drawings("test").samples[i][0] for i in range(0, 154, 11)]
    for width, height in ((640, 427), (427, 641), (1000, 67), (40, 30), (64, 64), (65, 97)):
        small = Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        path = tmp_path / f"{width}x{height}.png"
        small.resize((width, height), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6
    Image.open(paths[-6]).save(turned, exif=exif)
    found = np.array(opened[0].evaluate(PREPROCESS, encoded([*paths, turned])))
    transform = Preprocessing.from_weights(backbone_weights(Settings())).transform()
    wanted = np.array([transform(Image.open(path)).flatten().numpy() for path in [*paths, turned]])
    shade = 1 / 255 / 0.224
    assert np.abs(found - wanted).max() < 1.05 * shade  # a transparent edge may round to the next shade
    assert np.abs(found[14:] - wanted[14:]).max() < 1e-5  # opaque pictures do not differ at all


def test_features_and_heads_are_those_of_python(opened):
    """Thirty drawings through the network; half of each class train a head, and half are tested."""
    page, data = opened[0], drawings("train")
    of_class = [[i for i, y in enumerate(data.targets) if data.classes[y] == name] for name in CLASSES]
    chosen = [i for places in of_class for i in places[:10]]
    features = np.array(page.evaluate(EXTRACT, encoded(data.samples[i][0] for i in chosen)))
    model = load_backbone(backbone_weights(Settings())).eval()
    model.fc = torch.nn.Identity()
    with torch.inference_mode():
        wanted = model(torch.stack([data[i][0] for i in chosen])).numpy()
    assert np.abs(features - wanted).mean() < 0.01 * wanted.mean()

    train, labels = np.arange(30) % 10 < 5, np.repeat(range(3), 5)
    rows = [features[train].tolist(), labels.tolist(), features[~train].tolist()]
    probabilities, left_out = page.evaluate(CLASSIFY, rows)
    head = LogisticRegression(max_iter=1000)
    also = head.fit(features[train], labels).predict_proba(features[~train])
    assert np.abs(np.array(probabilities) - also).max() < 0.02
    assert left_out == cross_val_score(head, features[train], labels, cv=LeaveOneOut()).sum()


def test_wilson_interval_is_that_of_the_package(opened):
    counts = [[0, 10], [13, 15], [15, 15], [7, 25]]
    found = opened[0].evaluate(WILSON, counts)
    assert np.allclose(found, [accuracy_interval(*count) for count in counts], atol=1e-4)


def test_a_visitor_trains_a_head_and_asks_it(opened):
    """By keyboard, from the drawings to an answer; then axe looks at the page, wide and on a phone."""
    page, faults = opened
    page.set_default_timeout(300_000)
    page.locator("[data-drawings]").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Trained on 15 pictures of 3 things").wait_for()
    assert "of 15" in page.locator("#features").text_content()
    assert "33 %" in page.locator("#guess").text_content()

    page.locator("#examples button").nth(4).focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Asked about").wait_for()
    assert page.locator(".answer tbody tr").all_text_contents()[0].startswith("buildings")

    page.locator("#ask input").first.set_input_files(ROOT / "README.md")
    page.get_by_role("status").filter(has_text="Expected a picture").wait_for()
    page.get_by_role("button", name="Remove picture 1 of fruit").press("Enter")
    page.get_by_role("status").filter(has_text="Trained on 14 pictures").wait_for()
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        faults += [f"{width} pixels: {fault}" for fault in look(page)]
    assert not faults, "\n".join(faults)


def test_the_page_may_contact_no_other_site(opened):
    blocked = """new Promise(done => {
      document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
      fetch('https://elsewhere.example/').catch(() => {});
    })"""
    assert opened[0].evaluate(blocked) == "connect-src"


def test_a_browser_without_webassembly_is_told(browser, address):
    page = browser.new_page()
    page.add_init_script("delete window.WebAssembly")
    page.goto(address, wait_until="load")
    page.get_by_role("status").filter(has_text="got one without").wait_for()
    assert not page.locator("#try").is_visible()
    page.close()
