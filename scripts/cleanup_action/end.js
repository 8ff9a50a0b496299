// Runs after the job's last step, also when the job failed or was cancelled.
const { spawnSync } = require("node:child_process");

const { STATE_launcher: launcher, STATE_project: project, STATE_state: state } = process.env;

const done = spawnSync("python3", ["-I", "-S", launcher, "clean", "--kept", project], {
  stdio: "inherit",
  env: { ...process.env, SAVEPOINT_STATE: state },
});
// A clean-up that failed must not turn a green job red: the next run's clean-up takes what is left.
if (done.status !== 0) {
  console.log(`::warning title=Savepoint::Cleaning up ended with ${done.error ?? `exit code ${done.status}`}.`);
}
