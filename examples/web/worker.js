// Loads a style model and restyles the frames that the page sends.
import { Bundle } from "./edgeinfer.js";

// RGBA bytes to planes of red, green and blue from 0 to 1.
function toPlanes(pixels, planes) {
  const count = planes.length / 3;
  for (let index = 0; index < count; index++) {
    planes[index] = pixels[4 * index] / 255;
    planes[count + index] = pixels[4 * index + 1] / 255;
    planes[2 * count + index] = pixels[4 * index + 2] / 255;
  }
}

// Planes to RGBA bytes, which round to the nearest and stay between 0 and 255 by themselves.
function fromPlanes(planes, pixels) {
  const count = planes.length / 3;
  for (let index = 0; index < count; index++) {
    pixels[4 * index] = planes[index] * 255;
    pixels[4 * index + 1] = planes[count + index] * 255;
    pixels[4 * index + 2] = planes[2 * count + index] * 255;
    pixels[4 * index + 3] = 255;
  }
}

function restyle(model, { pixels, style }) {
  toPlanes(pixels, model.inputs.image);
  model.inputs.style_weights.fill(0)[style] = 1;
  const start = performance.now();
  model.run();
  const milliseconds = performance.now() - start;
  const restyled = new Uint8ClampedArray(pixels.length);
  fromPlanes(model.outputs.stylized, restyled);
  postMessage({ pixels, restyled, milliseconds }, [pixels.buffer, restyled.buffer]);
}

onmessage = async ({ data: { url, name } }) => {
  try {
    const model = await Bundle.load(url, name);
    const [, , height, width] = model.shapes.image;
    onmessage = ({ data }) => restyle(model, data);
    postMessage({ width, height });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
