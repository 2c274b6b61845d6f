// Restyles a moving drawing, a picture or the camera, frame by frame. The model runs in a worker (worker.js): while it
// works on one frame the page draws the next.
const $ = (id) => document.getElementById(id);
const BUNDLE = "bundle/multistyle26.wasm";
const MODEL = "multistyle26";
// Frames handed over and not yet shown: with two of them the worker never waits for the page.
const FRAMES_AHEAD = 2;

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

// Draws the middle of a picture or video, as much of it as fits the canvas's shape.
function drawCover(context, source) {
  const { width, height } = context.canvas;
  const [wide, high] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.max(width / wide, height / high);
  context.drawImage(source, (width - wide * scale) / 2, (height - high * scale) / 2, wide * scale, high * scale);
}

// Below the status, which every frame writes anew.
function fail(error) {
  $("status").textContent = "";
  $("problem").textContent = error.message ?? String(error);
}

function start(worker, width, height) {
  for (const canvas of [$("before"), $("after")]) Object.assign(canvas, { width, height });
  // Canvases in the computer's own memory: pixels go to and from them without a detour by the graphics processor.
  const options = { willReadFrequently: true };
  const drawing = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", options);
  const before = $("before").getContext("2d", options);
  const after = $("after").getContext("2d", options);

  let source = null; // a picture or video; null for the scene
  const change = (next) => {
    source?.srcObject?.getTracks().forEach((track) => track.stop());
    source = next;
    $("problem").textContent = "";
  };
  $("file").onchange = async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    try {
      change(await createImageBitmap(file));
    } catch {
      fail(`${file.name} is no picture that this browser can read`);
    }
  };
  $("camera").onclick = async () => {
    try {
      const video = document.createElement("video");
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
      await video.play();
      change(video);
      $("file").value = "";
    } catch (error) {
      fail(`no camera: ${error.message}`);
    }
  };

  const hand = () => {
    if (source) drawCover(drawing, source);
    else drawScene(drawing, performance.now() / 1000);
    const { data } = drawing.getImageData(0, 0, width, height);
    worker.postMessage({ pixels: data, style: Number($("style").value) }, [data.buffer]);
  };
  let times = [];
  const show = ({ pixels, restyled, milliseconds }) => {
    before.putImageData(new ImageData(pixels, width, height), 0, 0);
    after.putImageData(new ImageData(restyled, width, height), 0, 0);
    times = [...times.slice(-19), performance.now()];
    if (times.length > 1) {
      const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
      $("status").textContent =
        `${rate.toFixed(1)} frames/s, ${milliseconds.toFixed(0)} ms in the model, ${width}x${height}`;
    }
  };
  // The browser calls for no frames while the page is hidden, so that the worker rests too.
  worker.onmessage = ({ data }) => requestAnimationFrame(() => (hand(), show(data)));
  for (let frame = 0; frame < FRAMES_AHEAD; frame++) hand();
}

const worker = new Worker("worker.js", { type: "module" });
worker.onerror = (event) => fail(event.message || "worker.js cannot be loaded");
worker.onmessage = ({ data }) => (data.error ? fail(data.error) : start(worker, data.width, data.height));
worker.postMessage({ url: BUNDLE, name: MODEL });
