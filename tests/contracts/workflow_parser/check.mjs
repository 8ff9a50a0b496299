// Parses workflows and actions as GitHub does: check.mjs ROOT FILE... prints {file: [faults]} as JSON.
import { readFileSync } from "node:fs";
import path from "node:path";
import { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } from "@actions/workflow-parser";
import { convertActionTemplate, parseAction } from "@actions/workflow-parser/actions/index";

const OURS = "savepoint-ci/savepoint/";
const [root, ...names] = process.argv.slice(2);

const read = (name) => ({ name, content: readFileSync(path.join(root, name), "utf8") });

// A workflow that is called from here is read too, so that a wrong input of the caller is a fault.
const calledWorkflows = {
  async getFileContent(reference) {
    const ours = !reference.owner || `${reference.owner}/${reference.repository}/` === OURS;
    if (!ours) throw new Error(`a workflow of ${reference.owner}/${reference.repository} cannot be checked here`);
    return read(reference.path);
  },
};

async function faultsOf(name) {
  const isAction = path.basename(name) === "action.yml";
  const { context, value } = (isAction ? parseAction : parseWorkflow)(read(name), new NoOperationTraceWriter());
  if (value && isAction) convertActionTemplate(context, value);
  if (value && !isAction) await convertWorkflowTemplate(context, value, calledWorkflows, { fetchReusableWorkflowDepth: 1 });
  return context.errors.getErrors().map((error) => error.message);
}

const faults = {};
for (const name of names) faults[name] = await faultsOf(name);
console.log(JSON.stringify(faults));
