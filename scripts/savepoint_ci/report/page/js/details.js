// Everything that is known of one test.

const HISTORY = new Map((REPORT.history ? REPORT.history.tests : []).map((test) => [test.nodeid, test]));
const VERDICTS = new Map(REPORT.verdicts.map((verdict) => [verdict.nodeid, verdict]));

function showDetails(test) {
  const verdict = VERDICTS.get(test.nodeid), known = HISTORY.get(test.nodeid);
  const phases = Object.entries(test.phases).map(([name, seconds]) => `${name} ${duration(seconds)}`).join(", ");
  const causes = REPORT.findings.filter((finding) => finding.tests.includes(test.nodeid));
  at("details").replaceChildren(
    element("h3", {}, test.nodeid),
    element("p", {}, element("strong", { class: test.outcome }, test.outcome.replace("_", " ")),
      ` · ${duration(test.duration)} on ${test.worker}`, phases ? ` (${phases})` : "",
      test.isolation ? ` · database: ${test.isolation}` : "",
      test.started === null ? "" : ` · began after ${duration(test.started)}`),
    test.queries ? element("p", {}, ...queries(test.queries)) : "",
    ...causes.map((finding) => element("p", {}, "Cause: ", element("code", {}, `${finding.code} ${finding.cause}`),
      finding.culprit ? ` at ${place(finding.culprit.path, finding.culprit.line)}` : "")),
    verdict ? element("p", {}, `Reruns: ${verdict.verdict}, failed ${verdict.failures} of ${verdict.runs}`,
      verdict.polluter ? `, because of ${verdict.polluter}` : "") : "",
    known ? element("p", {}, `Base branch: failed ${known.failures} of ${known.runs}  `, runs(known)) : "",
    ...test.phase_errors.flatMap((error) => [
      element("h3", {}, `${error.phase}: ${error.message}`),
      error.path ? element("p", {}, element("code", {}, place(error.path, error.line))) : "",
      error.text ? element("pre", { tabindex: "0", "aria-label": `Text of the ${error.phase} error` }, error.text) : "",
    ]));
  at("details").scrollTop = 0;
}

function queries(asked) {
  const slowest = asked.slowest ? [`; slowest (${duration(asked.slowest_seconds)}): `, element("code", {}, asked.slowest)] : [];
  const repeated = asked.repeated ? [`; sent ${asked.times} times, as in a loop: `, element("code", {}, asked.repeated)] : [];
  return [`${plural(asked.count, "statement")}, ${duration(asked.seconds)} in the database, ${plural(asked.rows, "row")}`, ...slowest, ...repeated];
}

// A mark per run, newest last; a screen reader gets the count instead.
function runs(known) {
  const marks = { ".": "✓", F: "✗", s: "·" };
  const failed = [...known.recent].filter((letter) => letter === "F").length;
  return element("span", { class: "runs", role: "img", "aria-label": `${failed} of the last ${known.recent.length} runs failed` },
    [...known.recent].map((letter) => marks[letter]).join(""));
}
