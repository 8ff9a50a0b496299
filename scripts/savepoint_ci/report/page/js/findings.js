// One card per cause: the line to change, why, how, and the tests.

function showFindings() {
  if (!REPORT.findings.length) return;
  const broken = new Set(REPORT.tests.filter((test) => BROKEN.has(test.outcome)).map((test) => test.nodeid));
  const cards = REPORT.findings.map((finding, index) => card(finding, SAID.commands[index], finding.tests.filter((nodeid) => broken.has(nodeid)).length));
  at("findings-list").append(...cards);
  show("findings");
}

function card(finding, command, failing) {
  const culprit = finding.culprit;
  const title = culprit
    ? ["Change ", element("code", {}, place(culprit.path, culprit.line)), culprit.name ? " in " : "", culprit.name ? element("code", {}, culprit.name) : ""]
    : ["There is no single line to change"];
  return element("article", failing ? {} : { class: "lurking" },
    element("h3", {}, ...title),
    element("p", { class: "soft" },
      failing ? `${plural(failing, "test")} broke` : `${plural(finding.tests.length, "test")}, none broke this time`,
      " · ", element("code", {}, `${finding.code} ${finding.cause}`), ` · confidence ${Math.round(finding.confidence * 100)} %`),
    finding.explanation ? element("p", {}, element("strong", {}, "Why: "), ...prose(finding.explanation)) : null,
    finding.fix ? element("p", {}, element("strong", {}, "Fix: "), ...prose(finding.fix)) : null,
    command ? element("pre", { tabindex: "0", "aria-label": "Command that shows it again" }, command) : null,
    element("details", {}, element("summary", {}, `${plural(finding.tests.length, "test")} and evidence`),
      listed(finding.tests, testButton),
      ...finding.evidence.map((text) => element("pre", { tabindex: "0", "aria-label": "Evidence" }, text))));
}

function testButton(nodeid) {
  return element("button", { type: "button", onclick: () => openTest(nodeid) }, nodeid);
}
