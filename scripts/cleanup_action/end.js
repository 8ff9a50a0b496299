// Runs after the job's last step, also when the job failed or was cancelled.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { STATE_launcher: launcher, STATE_project: project, STATE_state: state } = process.env;
const LONGEST_END = 60_000;

// The process that holds the server has all that the usual end needs in memory; a new one would first have to load it.
if (!holderEndsTheJob()) {
  endTheJob();
}

function holderEndsTheJob() {
  const last = Date.now() + LONGEST_END;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  try {
    fs.writeSync(bell(), "\n");
    while (fs.existsSync(state) && Date.now() < last) {
      fs.closeSync(bell());
      Atomics.wait(pause, 0, 0, 5);
    }
  } catch {
    // There is no pipe, or nobody reads it any more.
  }
  return !fs.existsSync(state);
}

function bell() {
  return fs.openSync(path.join(state, "end"), fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
}

function endTheJob() {
  // Where the first step came to its end, the tool's own Python is known and need not be looked for.
  const configured = path.join(state, "configured.json");
  const python = fs.existsSync(configured) ? JSON.parse(fs.readFileSync(configured, "utf8")).tool : "python3";
  const done = spawnSync(python, ["-I", "-S", launcher, "end"], {
    stdio: "inherit",
    cwd: project,
    env: { ...process.env, SAVEPOINT_STATE: state },
  });
  // A clean-up that failed must not turn a green job red: the next run's clean-up takes what is left.
  if (done.status !== 0) {
    console.log(`::warning title=Savepoint::Cleaning up ended with ${done.error ?? `exit code ${done.status}`}.`);
  }
}
