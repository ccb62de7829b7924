// The page `try`: pictures in, features, a head, answers. What is computed is in learn.js.

import { ask, leaveOneOut, preprocess, prepare, train, weightsOf, wilson } from "./learn.js";

const MOST_THINGS = 5;
const find = (selector, inside = document) => inside.querySelector(selector);
const things = []; // { element, pictures: [{ url, text, pixels, features }] }
let asked = []; // pictures like those
let heads = null; // { features, pixels }: each { data, head }

// The network

let network = null;

/** Load ONNX Runtime and the backbone, once; return a function from prepared pixels to 512 features. */
export async function loadNetwork() {
  say("Loading the network: 37 MB, once …");
  const ort = await import("./ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1; // several threads would need special headers from the web server
  const address = new URL("backbone.onnx", import.meta.url).href;
  const session = await ort.InferenceSession.create(address, { executionProviders: ["wasm"] });
  return async (pixels) => {
    const images = new ort.Tensor("float32", pixels, [1, 3, 64, 64]);
    return (await session.run({ images })).features.data;
  };
}

/** Read a picture and compute its features. */
async function readPicture(blob, text) {
  network ??= loadNetwork();
  const extract = await network.catch((error) => {
    network = null; // the next picture tries again
    throw new Error(`Expected to load the network, got: ${error.message}. Try again.`);
  });
  const pixels = await preprocess(blob).catch(() => {
    throw new Error(`Expected a picture that this browser can read, got ${text}. Try a JPEG or PNG.`);
  });
  return { url: URL.createObjectURL(blob), text, pixels, features: await extract(pixels) };
}

// One job at a time, in the order in which they came

let lastJob = Promise.resolve();

function enqueue(job) {
  lastJob = lastJob.then(job).catch((error) => say(error.message));
  return lastJob;
}

function say(text) {
  find("#status").textContent = text;
}

/** Read pictures one by one; complain at the end if one of them could not be read. */
async function readAll(files, add) {
  let failure = null;
  for (const [i, file] of files.entries()) {
    try {
      add(await readPicture(file, file.name));
      say(`Read picture ${i + 1} of ${files.length} …`);
    } catch (error) {
      failure = error;
    }
  }
  if (failure) throw failure;
}

// Things and their pictures

function addThing(name = "") {
  const element = find("#thing").content.cloneNode(true).firstElementChild;
  const thing = { element, pictures: [] };
  things.push(thing);
  find("#things").append(element);
  find("legend", element).textContent = `Thing ${things.length}`;
  find(".name", element).value = name;
  find(".name", element).addEventListener("change", () => enqueue(learn));
  onPictures(element, (files) =>
    enqueue(() => readAll(files, (picture) => thing.pictures.push(picture)).finally(learn)),
  );
  find("#add").hidden = things.length >= MOST_THINGS;
  return thing;
}

const nameOf = (thing) => find(".name", thing.element).value.trim() || find("legend", thing.element).textContent;

/** Call a function with the pictures that somebody chooses, photographs or drops. */
function onPictures(element, use) {
  for (const input of element.querySelectorAll("input[type=file]"))
    input.addEventListener("change", () => {
      use([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  element.addEventListener("drop", (event) => use([...event.dataTransfer.files]));
}

function showPictures(thing) {
  const items = thing.pictures.map((picture, i) => {
    const remove = create("button", { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", `Remove picture ${i + 1} of ${nameOf(thing)}`);
    remove.addEventListener("click", () => {
      thing.pictures.splice(i, 1);
      enqueue(learn).then(() => find(".name", thing.element).focus());
    });
    const image = create("img", { src: picture.url, alt: `${nameOf(thing)}, picture ${i + 1}: ${picture.text}` });
    const item = create("li");
    item.append(image, paint(picture.features, `Features of ${image.alt}`), remove);
    return item;
  });
  find(".pictures", thing.element).replaceChildren(...items);
}

const create = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

/** Paint 512 numbers as 32 x 16 dots: features grey from 0; weights orange above 0 and blue below. */
function paint(numbers, label, signed = false) {
  const canvas = create("canvas", { width: 32, height: 16 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const context = canvas.getContext("2d");
  const largest = Math.max(...numbers.map(Math.abs));
  numbers.forEach((number, i) => {
    const strength = Math.sqrt(Math.abs(number) / largest);
    context.fillStyle = signed
      ? `hsl(${number > 0 ? 30 : 215} 90% ${100 - 50 * strength}%)`
      : `hsl(0 0% ${100 * strength}%)`;
    context.fillRect(i % 32, Math.floor(i / 32), 1, 1);
  });
  return canvas;
}

// Learning and asking

/** Train both heads on all pictures, and test them on each picture in turn. */
function learn() {
  things.forEach(showPictures);
  const used = things.filter((thing) => thing.pictures.length >= 2);
  const pictures = used.flatMap((thing) => thing.pictures);
  const labels = used.flatMap((thing, c) => thing.pictures.map(() => c));
  const enough = used.length >= 2;
  for (const id of ["results", "ask"]) {
    find(`#${id}`).hidden = !enough;
    find(`#no-${id}`).hidden = enough;
  }
  heads = null;
  if (!enough) {
    say("Add at least two pictures each of two things. Five are better.");
    return;
  }
  heads = { names: used.map(nameOf) };
  const correct = {};
  for (const kind of ["features", "pixels"]) {
    const data = prepare(pictures.map((picture) => picture[kind]));
    correct[kind] = leaveOneOut(data, labels, used.length);
    heads[kind] = { data, head: train(data, labels, used.length) };
    const interval = wilson(correct[kind], labels.length).map(percent).join(" to ");
    const accuracy = percent(correct[kind] / labels.length);
    fill(find(`#${kind}`), [`${correct[kind]} of ${labels.length}`, accuracy, interval]);
  }
  fill(find("#guess"), ["", percent(1 / used.length), ""]);
  find("#weights").replaceChildren(...heads.names.map((name, c) => {
    const item = create("li");
    const weights = weightsOf(heads.features.data, heads.features.head, c);
    item.append(paint(weights, `Weights of ${name}`, true), name);
    return item;
  }));
  answer();
  say(
    `Trained on ${labels.length} pictures of ${used.length} things. Of the pictures left out in turn, the head on ` +
      `features gets ${correct.features} right, the head on pixels ${correct.pixels}.`,
  );
}

/** Show what both heads make of each picture that was asked about, the newest first. */
function answer() {
  const answers = asked.map((picture) => {
    const element = find("#answer").content.cloneNode(true).firstElementChild;
    Object.assign(find("img", element), { src: picture.url, alt: `You asked about ${picture.text}` });
    const [features, pixels] = ["features", "pixels"].map((kind) =>
      ask(heads[kind].data, heads[kind].head, picture[kind]),
    );
    heads.names.forEach((name, c) => {
      const row = find("tbody", element).insertRow();
      row.append(create("th", { scope: "row", textContent: name }), bar(features[c]), bar(pixels[c]));
    });
    return element;
  });
  find("#answers").replaceChildren(...answers);
}

function askAbout(files) {
  return enqueue(async () => {
    await readAll(files, (picture) => asked.unshift(picture)).finally(() => heads && answer());
    say(`Asked about ${files.map((file) => file.name).join(", ")}.`);
  });
}

const percent = (share) => `${Math.round(100 * share)} %`;

function bar(share) {
  const cell = create("td", { textContent: percent(share) });
  cell.style.setProperty("--share", share);
  return cell;
}

function fill(row, texts) {
  row.querySelectorAll("td").forEach((cell, i) => (cell.textContent = texts[i]));
}

// Drawings, for visitors without pictures

async function useDrawings(classes) {
  const folder = new URL("drawings/", import.meta.url);
  const listed = await (await fetch(new URL("list.json", folder))).json();
  const fetchDrawing = async (split, name, file) => {
    const address = new URL(`${split}/${name}/${encodeURIComponent(file)}`, folder);
    return new File([await (await fetch(address)).blob()], file);
  };
  find("#things").replaceChildren();
  things.length = 0;
  asked = [];
  const examples = [];
  for (const name of classes) {
    const thing = addThing(name);
    const files = someOf(listed[name].train, 5).map((file) => fetchDrawing("train", name, file));
    await readAll(await Promise.all(files), (picture) => thing.pictures.push(picture));
    showPictures(thing);
    examples.push(...someOf(listed[name].test, 3).map((file) => [name, file]));
  }
  find("#examples-title").hidden = false;
  find("#examples").replaceChildren();
  for (const [name, file] of examples) {
    const button = create("button", { type: "button" });
    const src = new URL(`test/${name}/${encodeURIComponent(file)}`, folder).href;
    button.append(create("img", { src, alt: `Ask about ${file}, from ${name}` }));
    button.addEventListener("click", async () => askAbout([await fetchDrawing("test", name, file)]));
    find("#examples").append(button);
  }
  learn();
}

/** Return some of a list, drawn at random. */
function someOf(list, count) {
  const left = [...list];
  return Array.from({ length: count }, () => left.splice(Math.floor(Math.random() * left.length), 1)[0]);
}

// Begin

if (typeof WebAssembly !== "object") {
  say("Expected a browser with WebAssembly, got one without. Try a newer browser, or switch WebAssembly on.");
} else if ("incomplete" in find("#try").dataset) {
  say("The network is missing: this copy of the site was built without npm or without a network. Try another copy.");
} else {
  find("#try").hidden = false;
  addThing();
  addThing();
  onPictures(find("#ask"), askAbout);
  find("#add").addEventListener("click", () => find(".name", addThing().element).focus());
  for (const button of document.querySelectorAll("[data-drawings]"))
    button.addEventListener("click", () => enqueue(() => useDrawings(button.dataset.drawings.split(" "))));
  for (const event of ["dragover", "drop"]) // else the browser would open the picture in place of the page
    document.addEventListener(event, (dropped) => dropped.preventDefault());
  say("Ready. Add pictures, or use the drawings.");
}
