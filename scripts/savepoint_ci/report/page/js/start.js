// The head of the page, then every part of it.

function showHead() {
  const run = REPORT.run, isGood = REPORT.result === "green";
  at("headline").textContent = `${isGood ? "✓" : "✗"} ${SAID.headline}`;
  at("headline").className = isGood ? "good" : "bad";
  const isolation = REPORT.database ? Object.entries(REPORT.database.isolation).map(([kind, number]) => `${number} ${kind}`).join(", ") : "";
  const facts = {
    Repository: run.repository, Branch: run.ref, Commit: run.commit.slice(0, 12), Started: run.started, Python: run.python,
    Workers: run.workers || "", Database: SAID.database, Isolation: isolation,
  };
  at("facts").append(...Object.entries(facts).filter(([, value]) => value !== "").map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
  if (SAID.run_url) at("facts").append(element("div", {}, element("dt", {}, "Run"), element("dd", {}, element("a", { href: SAID.run_url }, "its page"))));
}

function showFailure() {
  if (!REPORT.failure) return;
  at("failure-title").textContent = `The step ${REPORT.failure.step} failed`;
  at("failure-text").textContent = REPORT.failure.message;
  show("failure");
}

function showTolerated() {
  const tests = REPORT.quarantined.map((test) => element("li", {}, testButton(test.nodeid),
    ` ${test.failed ? "failed" : "passed"}, in quarantine until ${test.expires} (${test.owner}): ${test.reason}`));
  const findings = REPORT.silenced.map(({ finding, reason }) => element("li", {}, element("code", {}, `${finding.code} ${finding.cause}`),
    ` in ${plural(finding.tests.length, "test")} silenced: ${reason}`));
  if (!tests.length && !findings.length) return;
  at("tolerated-list").append(...tests, ...findings);
  show("tolerated");
}

function showWarnings() {
  if (!REPORT.warnings.length) return;
  at("warnings-list").append(...REPORT.warnings.map((text) => element("li", {}, ...prose(text))));
  show("warnings");
}

function showParts() {
  const shown = [...document.querySelectorAll("main > section:not([hidden])")];
  at("parts").append(...shown.map((section) =>
    element("li", {}, element("a", { href: `#${section.id}` }, section.querySelector("h2").textContent))));
}

showHead();
showFailure();
showFindings();
showTests();
showTimeline();
showFlaky();
showTolerated();
showCoverage();
showWarnings();
showParts();
