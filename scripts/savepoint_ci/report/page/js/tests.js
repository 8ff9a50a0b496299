// The list of tests. Only the rows in sight exist, so that 20,000 tests scroll like twenty.

const ROW = 28, SPARE = 8;
const OUTCOMES = ["failed", "error", "not_run", "xpassed", "xfailed", "skipped", "passed"];
const ORDERS = {
  report: () => 0,
  slowest: (one, other) => other.duration - one.duration,
  database: (one, other) => inDatabase(other) - inDatabase(one),
  started: (one, other) => (one.started ?? Infinity) - (other.started ?? Infinity) || 0,
  name: (one, other) => (one.nodeid < other.nodeid ? -1 : 1),
};
const inDatabase = (test) => (test.queries ? test.queries.seconds : 0);
let matching = [];
let selected = -1;

function showTests() {
  const present = OUTCOMES.filter((outcome) => REPORT.tests.some((test) => test.outcome === outcome));
  at("outcomes").append(...present.map((outcome) => {
    const number = REPORT.tests.reduce((sum, test) => sum + (test.outcome === outcome), 0);
    const box = element("input", { type: "checkbox", value: outcome });
    box.checked = true;
    return element("label", {}, box, ` ${outcome.replace("_", " ")} (${number.toLocaleString("en")})`);
  }));
  for (const name of ["worker", "isolation"]) {
    const values = [...new Set(REPORT.tests.map((test) => test[name]).filter(Boolean))].sort();
    at(name).append(...values.map((value) => element("option", { value }, value)));
    at(name).parentNode.hidden = !values.length;
  }
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("input", filter);
  at("list").addEventListener("scroll", drawRows, { passive: true });
  at("list").addEventListener("keydown", move);
  at("list").addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) select(Number(row.dataset.index));
  });
  filter();
  const first = matching.findIndex((test) => BROKEN.has(test.outcome));
  if (matching.length) select(Math.max(first, 0));
}

function filter() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const outcomes = new Set([...at("outcomes").querySelectorAll("input:checked")].map((box) => box.value));
  const worker = at("worker").value, isolation = at("isolation").value, was = matching[selected];
  matching = REPORT.tests.filter((test) => outcomes.has(test.outcome) && (!worker || test.worker === worker) && (!isolation || test.isolation === isolation)
    && words.every((word) => searchable(test).includes(word)));
  if (at("order").value !== "report") matching.sort(ORDERS[at("order").value]);
  at("spacer").style.height = `${matching.length * ROW}px`;
  at("shown").textContent = `${matching.length.toLocaleString("en")} of ${plural(REPORT.tests.length, "test")}`;
  selected = matching.indexOf(was);
  drawRows();
}

// A test is found by its name and by what its errors say.
const lowered = new Map();
function searchable(test) {
  if (!lowered.has(test)) lowered.set(test, [test.nodeid, ...test.phase_errors.map((error) => error.message)].join("\n").toLowerCase());
  return lowered.get(test);
}

function drawRows() {
  const list = at("list");
  const first = Math.max(Math.floor(list.scrollTop / ROW) - SPARE, 0);
  const last = Math.min(first + Math.ceil(list.clientHeight / ROW) + 2 * SPARE, matching.length);
  const rows = [];
  for (let index = first; index < last; index += 1) rows.push(row(index));
  // A screen reader is told of the selected row even when it is out of sight.
  if (selected >= 0 && (selected < first || selected >= last)) rows.push(row(selected));
  at("spacer").replaceChildren(...rows);
  if (selected >= 0) list.setAttribute("aria-activedescendant", `test-${selected}`);
  else list.removeAttribute("aria-activedescendant");
}

function row(index) {
  const test = matching[index], [file, ...name] = test.nodeid.split("::");
  const made = element("div", {
    class: "row", role: "option", id: `test-${index}`, "data-index": index, title: test.nodeid,
    "aria-selected": index === selected, "aria-posinset": index + 1, "aria-setsize": matching.length,
  }, element("span", { class: `mark ${test.outcome}` }, test.outcome.replace("_", " ")),
  element("span", { class: "name" }, name.join("::") || file, element("span", { class: "file" }, name.length ? file : "")),
  element("span", { class: "soft" }, duration(test.duration)), element("span", { class: "soft" }, test.worker));
  made.style.top = `${index * ROW}px`;
  return made;
}

function move(event) {
  const page = Math.floor(at("list").clientHeight / ROW) - 1;
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || !matching.length) return;
  event.preventDefault();
  select(Math.min(Math.max(selected + steps[event.key], 0), matching.length - 1));
}

function select(index) {
  const list = at("list"), top = index * ROW;
  selected = index;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  drawRows();
  showDetails(matching[index]);
}

// From elsewhere on the page: filters that hide the test are lifted.
function openTest(nodeid) {
  let index = matching.findIndex((test) => test.nodeid === nodeid);
  if (index < 0 && REPORT.tests.some((test) => test.nodeid === nodeid)) {
    at("search").value = at("worker").value = at("isolation").value = "";
    at("outcomes").querySelectorAll("input").forEach((box) => { box.checked = true; });
    filter();
    index = matching.findIndex((test) => test.nodeid === nodeid);
  }
  if (index < 0) return;
  select(index);
  at("list").focus({ preventScroll: true });
  at("tests").scrollIntoView();
}
