// What the page `try` computes: a picture becomes numbers, and a head learns from them. No library, no page.

export const SIZE = 64;
const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/** Prepare a picture as the course does in Python: 3 x 64 x 64 numbers for the network. */
export async function preprocess(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" }); // upright, whatever EXIF says
  const { width, height } = bitmap;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // under what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;

  const shorter = Math.min(width, height);
  const newWidth = Math.trunc((SIZE * width) / shorter);
  const newHeight = Math.trunc((SIZE * height) / shorter);
  const narrow = resizeAndTranspose(pixels, width, height, newWidth);
  const small = resizeAndTranspose(narrow, height, newWidth, newHeight);

  const left = cropStart(newWidth);
  const top = cropStart(newHeight);
  const numbers = new Float32Array(3 * SIZE * SIZE);
  for (let channel = 0; channel < 3; channel++)
    for (let y = 0; y < SIZE; y++)
      for (let x = 0; x < SIZE; x++) {
        const value = small[((top + y) * newWidth + left + x) * 4 + channel];
        numbers[(channel * SIZE + y) * SIZE + x] = (value / 255 - MEAN[channel]) / STD[channel];
      }
  return numbers;
}

/**
 * Resize the width of RGBA pixels as Pillow does: bilinear, antialiased. A canvas would smooth differently.
 * The result is transposed, so that a second call resizes the height and turns the picture back.
 */
function resizeAndTranspose(pixels, width, height, newWidth) {
  const scale = width / newWidth;
  const reach = Math.max(scale, 1); // a new pixel averages all the old ones that it covers
  const resized = new Uint8Array(newWidth * height * 4);
  for (let x = 0; x < newWidth; x++) {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(width, Math.trunc(centre + reach + 0.5));
    const triangle = (i) => Math.max(0, 1 - Math.abs((first + i + 0.5 - centre) / reach));
    const heights = Array.from({ length: end - first }, (_, i) => triangle(i));
    const sum = heights.reduce((a, b) => a + b);
    const weights = heights.map((weight) => Math.round((weight / sum) * 2 ** 22)); // Pillow's fractions
    for (let y = 0; y < height; y++)
      for (let channel = 0; channel < 3; channel++) {
        let total = 2 ** 21; // a half, for rounding
        for (let i = 0; i < weights.length; i++)
          total += weights[i] * pixels[(y * width + first + i) * 4 + channel];
        resized[(x * height + y) * 4 + channel] = Math.trunc(total / 2 ** 22);
      }
  }
  return resized;
}

/** Return where the centre crop starts; a half is rounded to the even number, as in Python. */
function cropStart(length) {
  const half = (length - SIZE) / 2;
  return half % 2 === 0.5 ? Math.floor(half) : Math.round(half);
}

/**
 * Centre the rows (one for each picture: its features, or its pixels) and multiply each with each.
 * A linear layer's weights are a sum of its training rows, because that is what each gradient step adds. So
 * these products are all that training needs, and a row of 12,288 pixels costs no more than one of 512 features.
 */
export function prepare(rows) {
  const mean = rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
  const centred = rows.map((row) => row.map((value, i) => value - mean[i]));
  return { mean, centred, products: centred.map((row) => centred.map((other) => dot(row, other))) };
}

/**
 * Train a head on some of the prepared rows: logistic regression with the L2 penalty of scikit-learn's C=1.
 * `share[i][c]` is how much of row i the weights of class c contain.
 */
export function train({ products }, labels, classes, chosen = [...labels.keys()], steps = 1000) {
  const share = chosen.map(() => new Float64Array(classes));
  const bias = new Float64Array(classes);
  const head = { chosen, share, bias };
  const size = chosen.reduce((sum, i) => sum + products[i][i], 0);
  const rate = 1 / (1 + size); // small enough for every step to go downhill
  for (let step = 0; step < steps; step++) {
    const errors = chosen.map((i) => predict(head, products[i]));
    errors.forEach((error, k) => (error[labels[chosen[k]]] -= 1)); // probabilities minus the truth
    errors.forEach((error, k) =>
      error.forEach((value, c) => {
        share[k][c] -= rate * (value + share[k][c]); // the second term is the penalty's gradient
        bias[c] -= (rate * size * value) / chosen.length;
      }),
    );
  }
  return head;
}

/** Return the probability of each class, from the products of a row with the rows that were prepared. */
export function predict({ chosen, share, bias }, products) {
  const scores = bias.map((start, c) => chosen.reduce((sum, i, k) => sum + products[i] * share[k][c], start));
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Return the probability of each class for a new row. */
export function ask({ mean, centred }, head, row) {
  const shifted = row.map((value, i) => value - mean[i]);
  return predict(head, centred.map((other) => dot(shifted, other)));
}

/** Return the weights of a class: what a linear layer would have stored. */
export function weightsOf({ centred }, { chosen, share }, c) {
  return centred[0].map((_, j) => chosen.reduce((sum, i, k) => sum + share[k][c] * centred[i][j], 0));
}

/** Train once without each picture, and count how many of them the head then classifies correctly. */
export function leaveOneOut(data, labels, classes) {
  const all = [...labels.keys()];
  return all.filter((left) => {
    const head = train(data, labels, classes, all.filter((i) => i !== left));
    const probabilities = predict(head, data.products[left]);
    return probabilities.indexOf(Math.max(...probabilities)) === labels[left];
  }).length;
}

/** Return the 95 % Wilson score interval of an accuracy. */
export function wilson(correct, total, z = 1.96) {
  const centre = (correct + z ** 2 / 2) / (total + z ** 2);
  const half = (z * Math.sqrt((correct * (total - correct)) / total + z ** 2 / 4)) / (total + z ** 2);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}
