// Files with their source; a file's lines are made when it is opened.

function showCoverage() {
  const coverage = REPORT.coverage;
  if (!coverage) return;
  const before = REPORT.history && REPORT.history.coverage !== null ? ` · ${percent(REPORT.history.coverage)} at the merge base` : "";
  at("coverage-total").textContent = `${percent(coverage.total)} in all · lines ${percent(coverage.lines)}`
    + (coverage.branches === null ? "" : ` · branches ${percent(coverage.branches)}`)
    + (coverage.diff ? ` · changed lines ${coverage.diff.covered} of ${coverage.diff.changed}` : "") + before;
  for (const id of ["file-search", "gaps"]) at(id).addEventListener("input", showFiles);
  at("file-search").form.addEventListener("submit", (event) => event.preventDefault());
  showFiles();
  show("coverage");
}

function showFiles() {
  const word = at("file-search").value.toLowerCase();
  const files = REPORT.coverage.files.filter((file) => file.path.toLowerCase().includes(word) && (!at("gaps").checked || file.percent < 100));
  files.sort((one, other) => one.percent - other.percent);
  at("files-shown").textContent = `${files.length} of ${plural(REPORT.coverage.files.length, "file")}`;
  at("files").replaceChildren(...files.map(fileDetails));
}

function fileDetails(file) {
  const made = element("details", {}, element("summary", {}, element("code", {}, file.path), ` ${percent(file.percent)}`,
    file.missing.length ? element("span", { class: "soft" }, ` · not run: ${ranges(file.missing.slice(0, 12))}${file.missing.length > 12 ? " …" : ""}`) : ""));
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) made.append(...sourceLines(file));
  });
  return made;
}

function sourceLines(file) {
  const text = SOURCES[file.path];
  if (text === undefined) return [element("p", {}, "The source is not in this report.", file.missing.length ? ` Not run: ${ranges(file.missing)}` : "")];
  const sources = text.replace(/\n$/, "").split("\n"), notes = lineNotes(file, sources.length), who = element("div", { role: "status" });
  const lines = sources.map((source, index) => sourceLine(source, index + 1, notes, who));
  return [who, element("div", { class: "source", tabindex: "0", role: "region", "aria-label": `Source of ${file.path}` }, ...lines)];
}

function sourceLine(source, number, notes, who) {
  const note = notes.said.get(number) || "", stretch = notes.touched.get(number);
  const missed = note.startsWith("not run");
  const kind = `line${missed ? " missed" : ""}${note.endsWith("changed") ? " changed" : ""}`;
  const tests = stretch ? element("button", { type: "button", onclick: () => who.replaceChildren(...whoRan(stretch)) }, plural(stretch.total, "test")) : note;
  return element("div", { class: kind }, element("span", { class: "soft" }, `${number}`), element("span", { class: "soft" }, tests), element("span", {}, source || " "));
}

function lineNotes(file, end) {
  const said = new Map(), touched = new Map();
  const mark = (stretches, text) => stretches.forEach(([first, last]) => {
    for (let line = first; line <= Math.min(last, end); line += 1) said.set(line, text);
  });
  const of = (files, name) => (files.find(({ path }) => path === file.path) || { [name]: [] })[name];
  mark(of(REPORT.coverage.only_flaky, "ranges"), "only flaky");
  mark(file.missing, "not run");
  mark(of(REPORT.coverage.diff ? REPORT.coverage.diff.files : [], "uncovered"), "not run, changed");
  file.touched.forEach((stretch) => touched.set(stretch.first, stretch));
  return { said, touched };
}

function whoRan(stretch) {
  const known = stretch.tests.map((index) => REPORT.coverage.tests[index]).filter(Boolean);
  const rest = stretch.total - known.length;
  return [element("p", {}, `Lines ${stretch.first}–${stretch.last} were run by ${plural(stretch.total, "test")}${rest > 0 ? `; the first ${known.length}:` : ":"}`),
    listed(known, testButton)];
}
