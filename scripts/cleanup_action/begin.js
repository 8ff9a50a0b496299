// Makes the private folder for the state of one run, and remembers what the end needs to know.
const fs = require("node:fs");
const path = require("node:path");

const state = fs.mkdtempSync(path.join(process.env.RUNNER_TEMP, "savepoint-"));
const project = path.resolve(process.env.GITHUB_WORKSPACE, process.env.INPUT_PROJECT);

fs.appendFileSync(process.env.GITHUB_OUTPUT, `state=${state}\n`);
fs.appendFileSync(
  process.env.GITHUB_STATE,
  `launcher=${process.env.INPUT_LAUNCHER}\nproject=${project}\nstate=${state}\n`,
);
// This folder is a copy in the caller's workspace, which should not look changed to git.
fs.writeFileSync(path.join(__dirname, ".gitignore"), "*\n");
