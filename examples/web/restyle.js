// Restyles a moving drawing, a picture or the camera, frame by frame.
import { Bundle } from "./edgeinfer.js";

const $ = (id) => document.getElementById(id);

// Draws a scene that moves with time.
function drawScene(context, seconds) {
  const { width, height } = context.canvas;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#2b6cb0");
  sky.addColorStop(1, "#fbd38d");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  for (let index = 0; index < 7; index++) {
    const turn = seconds * (0.4 + 0.1 * index) + index;
    context.fillStyle = `hsl(${index * 50} 70% 50%)`;
    context.beginPath();
    context.arc(width * (0.5 + 0.4 * Math.cos(turn)), height * (0.5 + 0.4 * Math.sin(1.3 * turn)),
                width * (0.05 + 0.015 * index), 0, 7);
    context.fill();
  }
}

// RGBA bytes to planes of red, green and blue from 0 to 1.
function toPlanes(pixels, planes) {
  const count = planes.length / 3;
  for (let index = 0; index < count; index++)
    for (let channel = 0; channel < 3; channel++)
      planes[channel * count + index] = pixels[4 * index + channel] / 255;
}

function fromPlanes(planes, pixels) {
  const count = planes.length / 3;
  for (let index = 0; index < count; index++) {
    for (let channel = 0; channel < 3; channel++) pixels[4 * index + channel] = planes[channel * count + index] * 255;
    pixels[4 * index + 3] = 255;
  }
}

async function main() {
  const model = await Bundle.load("bundle/multistyle26.wasm", "multistyle26");
  const [, , height, width] = model.shapes.image;
  for (const canvas of [$("before"), $("after")]) Object.assign(canvas, { width, height });
  const before = $("before").getContext("2d", { willReadFrequently: true });
  const after = $("after").getContext("2d");
  const result = after.createImageData(width, height);

  let source = null; // a picture or video; null for the scene
  $("file").onchange = async (event) => {
    source = await createImageBitmap(event.target.files[0]);
  };
  $("camera").onclick = async () => {
    const video = document.createElement("video");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    await video.play();
    source = video;
  };

  let times = [];
  const frame = () => {
    if (source) before.drawImage(source, 0, 0, width, height);
    else drawScene(before, performance.now() / 1000);
    toPlanes(before.getImageData(0, 0, width, height).data, model.inputs.image);
    model.inputs.style_weights.fill(0)[$("style").value] = 1;
    const start = performance.now();
    model.run();
    const milliseconds = performance.now() - start;
    fromPlanes(model.outputs.stylized, result.data);
    after.putImageData(result, 0, 0);
    times = [...times.slice(-19), performance.now()];
    if (times.length > 1) {
      const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
      $("status").textContent =
        `${rate.toFixed(1)} frames/s, ${milliseconds.toFixed(0)} ms in the model, ${width}x${height}`;
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

main().catch((error) => {
  $("status").textContent = String(error);
});
