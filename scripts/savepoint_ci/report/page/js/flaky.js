// Tests that fail at one time and pass at another.

function showFlaky() {
  if (!SAID.unsteady.length) return;
  at("flaky-list").append(...SAID.unsteady.map(flakyTest));
  show("flaky");
}

function flakyTest({ nodeid, trend, command }) {
  const verdict = VERDICTS.get(nodeid), known = HISTORY.get(nodeid);
  const interval = verdict && verdict.interval ? `, likely ${verdict.interval.map(Math.round).join("–")} %` : "";
  return element("article", { class: "lurking" },
    element("h3", {}, testButton(nodeid)),
    verdict ? element("p", {}, element("strong", {}, verdict.verdict), `: failed ${verdict.failures} of ${verdict.runs} when run again${interval}`,
      verdict.polluter ? ", because of " : "", verdict.polluter ? testButton(verdict.polluter) : "") : "",
    known ? element("p", {}, `Base branch: failed ${known.failures} of ${known.runs} `, runs(known), trend ? ` ${trend}` : "") : "",
    command ? element("pre", { tabindex: "0", "aria-label": "Command that shows it again" }, command) : "");
}
