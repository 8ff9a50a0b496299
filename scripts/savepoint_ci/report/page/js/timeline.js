// Steps of the run, then a lane per worker with the phases of its tests.

const PHASES = ["setup", "call", "teardown"];
const AXIS = 22;
let lanes = [], span = 0;

function showTimeline() {
  showSteps();
  const byWorker = new Map();
  for (const test of REPORT.tests) {
    if (!byWorker.has(test.worker)) byWorker.set(test.worker, []);
    byWorker.get(test.worker).push(test);
  }
  const name = (one, other) => one.localeCompare(other, "en", { numeric: true });
  lanes = [...byWorker.keys()].sort(name).map((worker) => ({ worker, tests: byWorker.get(worker) }));
  const timed = REPORT.tests.filter((test) => test.started !== null);
  span = timed.reduce((end, test) => Math.max(end, test.started + test.duration), 0);
  at("workers").append(workerTable());
  const around = (REPORT.timing.test || 0) - span;
  if (span && around > 1) at("steps").append(element("p", {}, `Before the first test and after the last: ${duration(around)}`));
  if (!timed.length || !span) return;
  show("lanes");
  at("canvas").setAttribute("aria-label", `Timeline of ${plural(lanes.length, "worker")} over ${duration(span)}; the table below says the same.`);
  new ResizeObserver(drawLanes).observe(at("canvas"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawLanes);
  at("canvas").addEventListener("mousemove", (event) => {
    const test = testUnder(event);
    at("pointed").textContent = test ? `${test.nodeid}: ${test.outcome.replace("_", " ")}, ${duration(test.duration)}` : "";
  });
  at("canvas").addEventListener("click", (event) => {
    const test = testUnder(event);
    if (test) openTest(test.nodeid);
  });
}

function showSteps() {
  const steps = Object.entries(REPORT.timing), longest = Math.max(...steps.map(([, seconds]) => seconds));
  if (!longest || !steps.length) return;
  const rows = steps.flatMap(([step, seconds]) => {
    const bar = element("div", { class: "bar" });
    bar.style.width = `${(100 * seconds) / longest}%`;
    return [element("dt", {}, step), element("dd", {}, duration(seconds), bar)];
  });
  const inside = PHASES.map((phase) => [phase, REPORT.tests.reduce((sum, test) => sum + (test.phases[phase] || 0), 0)]);
  at("steps").append(element("dl", { class: "steps" }, ...rows),
    inside.some(([, seconds]) => seconds) ? element("p", {}, "Inside tests: ", inside.map(([phase, seconds]) => `${phase} ${duration(seconds)}`).join(", ")) : "");
}

function workerTable() {
  const rows = lanes.map(({ worker, tests }) => {
    const busy = tests.reduce((sum, test) => sum + test.duration, 0);
    const slowest = tests.reduce((one, other) => (other.duration > one.duration ? other : one));
    return [worker, tests.length, duration(busy), span ? duration(Math.max(span - busy, 0)) : "", testButton(slowest.nodeid), duration(slowest.duration)];
  });
  return table("Each worker", ["Worker", "Tests", "Busy", "Waiting", "Slowest test", "took"], rows);
}

function geometry() {
  const box = at("canvas").getBoundingClientRect();
  const height = Math.max(5, Math.min(26, 800 / lanes.length));
  return { width: box.width, left: box.left, top: box.top, height, scale: (box.width - 70) / span };
}

function drawLanes() {
  const { width, height, scale } = geometry(), canvas = at("canvas"), ratio = devicePixelRatio || 1;
  const tall = Math.ceil(lanes.length * height + AXIS);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.style.height = `${tall}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
  }
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = Object.fromEntries([...PHASES, "broken", "soft"].map((name) => [name, style.getPropertyValue(`--${name}`)]));
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, tall);
  pen.font = "12px system-ui, sans-serif";
  lanes.forEach(({ worker, tests }, index) => {
    pen.fillStyle = colour.soft;
    if (height >= 12) pen.fillText(worker.slice(0, 9), 4, index * height + height / 2 + 4, 60);
    for (const test of tests) drawTest(pen, test, 66, index * height + 2, scale, height - 4, colour);
  });
  pen.fillStyle = colour.soft;
  for (let tick = 0; tick <= 4; tick += 1) {
    const label = duration((span * tick) / 4), x = 66 + (span * tick * scale) / 4;
    pen.fillText(label, Math.min(x, width - pen.measureText(label).width - 4), tall - 6);
  }
}

function drawTest(pen, test, left, top, scale, height, colour) {
  if (test.started === null) return;
  let start = test.started;
  for (const phase of PHASES) {
    const seconds = test.phases[phase] || 0;
    pen.fillStyle = BROKEN.has(test.outcome) ? colour.broken : colour[phase];
    pen.fillRect(left + start * scale, top, Math.max(seconds * scale - 0.5, 0.3), height);
    start += seconds;
  }
}

function testUnder(event) {
  const { left, top, height, scale } = geometry();
  const lane = lanes[Math.floor((event.clientY - top) / height)];
  const moment = (event.clientX - left - 66) / scale, reach = 2 / scale;
  return lane && lane.tests.find((test) => test.started !== null && moment >= test.started - reach && moment <= test.started + test.duration + reach);
}
