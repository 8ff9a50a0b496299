// Runs after the job's last step, also when the job failed or was cancelled.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { STATE_launcher: launcher, STATE_project: project, STATE_state: state } = process.env;

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
