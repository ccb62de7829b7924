"""The page `try` in a real browser: what it computes is what Python computes, and it asks no other machine.

`make site` builds it first. What was measured lies in build/browser/try.txt, pictures in build/screenshots.
"""

import base64
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from serving import serve
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_score
from torch.utils.data import Subset
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
PER_CLASS = 5

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

# Returns features, and the seconds that the network took for each picture after the first.
EXTRACT = f"""async files => {{ {BYTES}
  const {{preprocess}} = await import(new URL('../_static/try/learn.js', location.href));
  const {{loadNetwork}} = await import(new URL('../_static/try/page.js', location.href));
  const extract = await loadNetwork(), features = [], seconds = [];
  for (const file of files) {{
    const pixels = await preprocess(new Blob([bytes(file)])), begun = performance.now();
    features.push(Array.from(await extract(pixels)));
    seconds.push((performance.now() - begun) / 1000);
  }}
  return [features, seconds.slice(1).reduce((a, b) => a + b) / (files.length - 1)];
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


def test_features_and_heads_are_those_of_python(opened, report):
    """100 drawings through the network; ten draws of five of each of three classes through the head."""
    page, _ = opened
    split = {name: drawings(name) for name in ("train", "test")}
    of_class = {
        name: [[i for i, (_, y) in enumerate(data.samples) if data.classes[y] == c] for c in CLASSES]
        for name, data in split.items()
    }
    train, test = (
        Subset(split[name], [i for places in of_class[name] for i in places[:count]])
        for name, count in (("train", 20), ("test", 14))
    )
    test.indices = test.indices[:40]
    paths = [part.dataset.samples[i][0] for part in (train, test) for i in part.indices]
    features, seconds = page.evaluate(EXTRACT, encoded(paths))
    found = np.array(features)
    model = load_backbone(backbone_weights(Settings()))
    model.fc = torch.nn.Identity()
    images = torch.stack([part[i][0] for part in (train, test) for i in range(len(part))])
    with torch.inference_mode():
        wanted = model.eval()(images).numpy()
    difference = np.abs(found - wanted)
    report(
        "try",
        f"features of {len(paths)} drawings: greatest difference {difference.max():.2g}, mean "
        f"{difference.mean():.2g} (mean feature {wanted.mean():.2g}); {1000 * seconds:.0f} ms for a picture",
    )
    assert len(paths) == 100
    assert difference.mean() < 0.01 * wanted.mean()

    test_labels = np.array(
        [CLASSES.index(test.dataset.classes[test.dataset.targets[i]]) for i in test.indices]
    )
    labels = np.repeat(range(3), PER_CLASS)
    random, accuracies, probability_gaps, correct = np.random.default_rng(0), [], [], []
    for _ in range(10):
        chosen = np.concatenate([20 * c + random.permutation(20)[:PER_CLASS] for c in range(3)])
        rows = [found[chosen].tolist(), labels.tolist(), found[60:].tolist()]
        probabilities, left_out = page.evaluate(CLASSIFY, rows)
        head = LogisticRegression(max_iter=1000)
        also = head.fit(found[chosen], labels).predict_proba(found[60:])
        correct.append((left_out, cross_val_score(head, found[chosen], labels, cv=LeaveOneOut()).sum()))
        pairs = (np.array(probabilities), also)
        accuracies.append([(one.argmax(1) == test_labels).mean() for one in pairs])
        probability_gaps.append(np.abs(pairs[0] - pairs[1]).max())
    means = np.mean(accuracies, axis=0)
    report(
        "try",
        f"head, ten draws: accuracy {means[0]:.1%}, scikit-learn's {means[1]:.1%}; greatest difference of a "
        f"probability {max(probability_gaps):.2g}; left out and correct, of 15: {correct}",
    )
    assert abs(means[0] - means[1]) <= 0.02
    assert np.abs(np.diff(accuracies)).mean() <= 0.02
    assert np.abs(np.diff(correct)).mean() <= 0.5


def test_wilson_interval_is_that_of_the_package(opened):
    counts = [[0, 10], [13, 15], [15, 15], [7, 25]]
    found = opened[0].evaluate(WILSON, counts)
    assert np.allclose(found, [accuracy_interval(*count) for count in counts], atol=1e-4)


def test_a_visitor_trains_a_head_and_asks_it(opened, screenshots, report):
    """By keyboard, from the drawings to an answer; then axe looks at the page, wide and on a phone."""
    page, faults = opened
    page.set_default_timeout(300_000)
    sizes = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    begun = time.monotonic()
    page.locator("[data-drawings]").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Trained on 15 pictures of 3 things").wait_for()
    trained = time.monotonic() - begun
    assert "of 15" in page.locator("#features").text_content()
    assert "33 %" in page.locator("#guess").text_content()

    begun = time.monotonic()
    page.locator("#examples button").nth(4).focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Asked about").wait_for()
    answered = time.monotonic() - begun
    assert page.locator(".answer tbody tr").all_text_contents()[0].startswith("buildings")

    page.locator("#ask input").first.set_input_files(ROOT / "README.md")
    page.get_by_role("status").filter(has_text="Expected a picture").wait_for()
    page.get_by_role("button", name="Remove picture 1 of fruit").press("Enter")
    page.get_by_role("status").filter(has_text="Trained on 14 pictures").wait_for()
    report(
        "try",
        f"a visitor: {trained:.1f} s from the click to a trained head, {answered:.1f} s for an answer; "
        f"{sum(sizes) / 1e6:.1f} MB loaded",
    )
    for name, width in (("wide", 1280), ("phone", 360)):
        page.set_viewport_size({"width": width, "height": 800})
        faults += [f"{name}: {fault}" for fault in look(page)]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=screenshots / f"try-{name}-{scheme}.png", full_page=True)
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
