// Draws one run. Python sends plain values (`scene`, `state`, `detail`), and this file only draws them; what a person does
// goes back in custom messages. Text of users becomes textContent, never markup. Over 500 lines because a widget is one
// file: no build, nothing from the network. From top to bottom: small tools, the five tabs, the panel of a step, the whole.

const SVG = "http://www.w3.org/2000/svg";
const ENDED = new Set(["done", "reused", "cached", "failed", "skipped", "cancelled"]);
const BROKEN = new Set(["failed", "retrying", "cancelled"]);
const PROGRESS = ["done", "reused", "cached", "failed", "cancelled", "skipped", "retrying", "running"];
const TABS = ["Graph", "Results", "Timeline", "Latency", "Steps"];
const MARGIN = 16;
const NARROW = 620; // px, as in the style sheet: the panel of a step covers the rest.

// --- small tools ---------------------------------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The same words as view/format.py.
function duration(seconds) {
  const three = (x) => (x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0));
  if (seconds < 0.9995e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.9995) return `${three(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${three(seconds)} s`;
  const all = Math.round(seconds);
  if (all < 3600) return `${Math.floor(all / 60)} min ${all % 60} s`;
  return `${Math.floor(all / 3600)} h ${Math.floor((all % 3600) / 60)} min`;
}

// A running clock shows tenths, so that its width stays.
function ticking(seconds) {
  return seconds < 59.95 ? `${Math.max(0, seconds).toFixed(1)} s` : duration(seconds);
}

function known(seconds) {
  return seconds === null || seconds === undefined ? "" : duration(seconds);
}

function mark(run, status) {
  const path = drawn("path", { d: run.scene.marks[status] });
  return drawn("svg", { class: `mpreg-mark mpreg-${status}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

function copyButton(text) {
  const button = element("button", { class: "mpreg-quiet", type: "button", "aria-label": "Copy" }, "Copy");
  button.addEventListener("click", async () => {
    await copy(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1200);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without https have no clipboard of that kind.
    const area = element("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function previewed(preview) {
  const about = [preview.type_name, preview.note].filter(Boolean).join(", ");
  const body = preview.kind === "table" ? tableOf(preview) : element("pre", { class: "mpreg-text" }, preview.text);
  const more = preview.cut ? element("div", { class: "mpreg-muted" }, "Only the beginning is shown.") : null;
  return [element("div", { class: "mpreg-muted" }, about), body, more];
}

function tableOf(preview) {
  const kind = (i) => (preview.numeric[i] ? "mpreg-number" : null);
  const head = element("tr", {}, ...preview.columns.map((c, i) => element("th", { class: kind(i), scope: "col" }, c)));
  const rows = preview.rows.map((r) => element("tr", {}, ...r.map((c, i) => element("td", { class: kind(i) }, c))));
  const table = element("table", { class: "mpreg-table" }, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { class: "mpreg-wide" }, table);
}

function previewText(preview) {
  if (preview.kind === "text") return preview.text;
  return [preview.columns, ...preview.rows].map((row) => row.join("\t")).join("\n");
}

// --- the tabs: each is made once, and updated while it can be seen ---------------------------------------------------

class GraphTab {
  constructor(run) {
    this.run = run;
    this.scale = null; // None chosen by hand: fit to the width.
    this.nodes = run.scene.nodes.map((node, i) => this.node(node, i));
    this.edges = run.scene.edges.map((edge) => drawn("path", { class: "mpreg-edge", d: edge.path }));
    const { width, height } = run.scene;
    const size = [-MARGIN, -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN];
    this.svg = drawn("svg", { class: "mpreg-graph", viewBox: size.join(" "), role: "group", "aria-label": "Dependency graph" });
    this.svg.append(this.arrowHead(), ...this.edges, ...this.nodes.map((node) => node.group));
    this.pane = element("div", { class: "mpreg-pane", tabindex: "-1" }, this.svg);
    this.strip = element("button", { class: "mpreg-strip", type: "button", hidden: true });
    this.strip.addEventListener("click", () => run.open(this.firstFailed));
    const zoom = (factor) => () => this.zoom(factor);
    const button = (label, sign, act) =>
      element("button", { class: "mpreg-quiet", type: "button", title: label, "aria-label": label, onclick: act }, sign);
    this.tools = element(
      "div",
      { class: "mpreg-tools" },
      button("Zoom out", "−", zoom(1 / 1.25)),
      button("Fit to the width", "Fit", () => this.fitAll()),
      button("Zoom in", "+", zoom(1.25)),
    );
    this.element = element("div", { class: "mpreg-graph-tab" }, this.pane, this.strip, this.tools);
    this.listen();
  }

  arrowHead() {
    // Each view has its own: a marker in a hidden view would not be drawn in another one.
    const id = `mpreg-arrow-${Math.random().toString(36).slice(2)}`;
    for (const edge of this.edges) edge.setAttribute("marker-end", `url(#${id})`);
    const size = { markerWidth: 8, markerHeight: 8, refX: 7, refY: 4, markerUnits: "userSpaceOnUse", orient: "auto" };
    const head = drawn("path", { d: "M0 .5L7.5 4L0 7.5Z", class: "mpreg-arrow" });
    return drawn("defs", {}, drawn("marker", { id, viewBox: "0 0 8 8", ...size }, head));
  }

  node(node, index) {
    const { x, y, width, height } = node;
    const middle = y + height / 2;
    const rect = (d) => drawn("rect", { class: "mpreg-box", x: x + d, y: y + d, width, height, rx: 7 });
    const path = drawn("path", { class: "mpreg-node-mark", transform: `translate(${x + 9} ${middle - 8})` });
    const clock = drawn("text", { class: "mpreg-clock", x: x + width, y: y - 5 });
    const title = drawn("title");
    const open = () => this.run.openNode(index);
    const group = drawn(
      "g",
      { class: "mpreg-node", tabindex: "0", role: "button", onclick: open },
      title,
      node.steps.length > 1 ? rect(4) : null,
      rect(0),
      path,
      drawn("text", { class: "mpreg-label", x: x + this.run.scene.text_left, y: middle - 3 }, node.label),
      drawn("text", { class: "mpreg-sublabel", x: x + this.run.scene.text_left, y: middle + 13 }, node.sublabel),
      clock,
    );
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open();
    });
    return { group, path, clock, title, status: null };
  }

  listen() {
    this.pane.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 300), event);
      },
      { passive: false },
    );
    this.pane.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest(".mpreg-node")) return;
      const { scrollLeft, scrollTop } = this.pane;
      const move = (e) => {
        this.pane.scrollLeft = scrollLeft - (e.clientX - event.clientX);
        this.pane.scrollTop = scrollTop - (e.clientY - event.clientY);
      };
      const stop = () => {
        this.pane.removeEventListener("pointermove", move);
        this.pane.classList.remove("mpreg-panning");
      };
      this.pane.setPointerCapture(event.pointerId);
      this.pane.classList.add("mpreg-panning");
      this.pane.addEventListener("pointermove", move);
      this.pane.addEventListener("lostpointercapture", stop, { once: true });
    });
  }

  // As wide as there is room, but never larger than life, and never too small to read.
  fitting() {
    return Math.max(0.6, this.wholeWidth());
  }

  wholeWidth() {
    return Math.min(1, Math.max(0.1, (this.run.width - 2) / (this.run.scene.width + 2 * MARGIN)));
  }

  fitAll() {
    this.scale = this.wholeWidth();
    this.resize();
  }

  fit() {
    this.scale = null;
    this.resize();
    // A graph wider than the room begins with its first step, which may stand far to the right.
    const [first] = this.run.scene.nodes;
    const middle = first ? (first.x + first.width / 2 + MARGIN) * this.fitting() : 0;
    this.pane.scrollTo(middle - this.run.width / 2, 0);
  }

  zoom(factor, at = null) {
    const pane = this.pane.getBoundingClientRect();
    const [x, y] = at ? [at.clientX - pane.left, at.clientY - pane.top] : [pane.width / 2, pane.height / 2];
    const before = this.scale ?? this.fitting();
    this.scale = Math.min(3, Math.max(0.15, before * factor));
    const ratio = this.scale / before;
    const [left, top] = [this.pane.scrollLeft, this.pane.scrollTop];
    this.resize();
    this.pane.scrollLeft = (left + x) * ratio - x;
    this.pane.scrollTop = (top + y) * ratio - y;
  }

  resize() {
    const scale = this.scale ?? this.fitting();
    this.svg.style.width = `${(this.run.scene.width + 2 * MARGIN) * scale}px`;
    this.svg.style.height = `${this.height(scale)}px`;
  }

  height(scale = this.fitting()) {
    return (this.run.scene.height + 2 * MARGIN) * scale;
  }

  update() {
    const { run } = this;
    run.scene.nodes.forEach((node, i) => {
      const status = run.nodeStatus(i);
      const here = this.nodes[i];
      if (here.status === status && node.steps.length === 1) return;
      here.status = status;
      here.group.setAttribute("class", `mpreg-node mpreg-${status}`);
      here.path.setAttribute("d", run.scene.marks[status]);
      const words = `${node.name}: ${run.words(node.steps)}`;
      here.title.textContent = words;
      here.group.setAttribute("aria-label", words);
      if (status !== "running") write(here.clock, "");
    });
    run.scene.edges.forEach((edge, i) => {
      const active = run.nodeStatus(edge.target) === "running";
      this.edges[i].classList.toggle("mpreg-active", active);
    });
    this.showFailed();
    this.showOpened();
  }

  showFailed() {
    const failed = this.run.state.steps.status.flatMap((status, i) => (status === "failed" ? [i] : []));
    this.strip.hidden = !failed.length;
    if (!failed.length) return;
    [this.firstFailed] = failed;
    const failure = this.run.detail.steps?.[this.firstFailed]?.failure;
    const text = failure ? `${failure.type_name}: ${failure.message}` : "failed";
    const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
    const key = `${this.firstFailed} ${text}${more}`;
    if (this.stripKey === key) return;
    this.stripKey = key;
    const name = element("b", {}, this.run.scene.steps[this.firstFailed].name);
    this.strip.replaceChildren(mark(this.run, "failed"), name, element("span", {}, text + more));
  }

  showOpened() {
    this.nodes.forEach((node, i) => node.group.classList.toggle("mpreg-opened", i === this.run.openedNode));
  }

  tick() {
    this.run.scene.nodes.forEach((node, i) => {
      if (this.nodes[i].status !== "running" || node.steps.length > 1) return;
      write(this.nodes[i].clock, ticking(this.run.elapsed(node.steps[0])));
    });
  }
}

class ResultsTab {
  constructor(run) {
    this.run = run;
    this.element = element("div", { class: "mpreg-page" });
  }

  update() {
    const { detail, state } = this.run;
    if (this.shown === detail && this.status === state.status) return;
    [this.shown, this.status] = [detail, state.status];
    const blocks = [...this.failures(), ...(detail.results ?? []).map((result) => this.block(result))];
    if (!blocks.length) {
      const going = state.status === "running";
      blocks.push(element("p", { class: "mpreg-muted" }, going ? "Results appear here when the run ends." : "No results."));
    }
    this.element.replaceChildren(...blocks);
  }

  block({ name, preview }) {
    const head = element("div", { class: "mpreg-head" }, element("b", {}, name), copyButton(previewText(preview)));
    return element("section", { class: "mpreg-result" }, head, ...previewed(preview));
  }

  failures() {
    const { detail, scene, state } = this.run;
    return state.steps.status.flatMap((status, i) => {
      const failure = status === "failed" && detail.steps?.[i]?.failure;
      if (!failure) return [];
      const head = element("div", { class: "mpreg-head" }, mark(this.run, "failed"), element("b", {}, scene.steps[i].name));
      return [element("section", { class: "mpreg-result" }, head, ...failed(failure))];
    });
  }
}

function failed(failure) {
  const head = element("div", { class: "mpreg-error" }, element("b", {}, failure.type_name), `: ${failure.message}`);
  if (!failure.traceback) return [head];
  return [head, element("pre", { class: "mpreg-text" }, failure.traceback.trimEnd())];
}

// Time runs to the right: positions are per cent of the axis, so nothing is drawn again when the width changes.
function percent(part, whole) {
  return `${whole > 0 ? (100 * part) / whole : 0}%`;
}

function axis(ticks, end_s) {
  const at = (tick) => `left:${percent(tick.at_s, end_s)}`;
  return {
    lines: element("div", { class: "mpreg-lines" }, ...ticks.map((t) => element("i", { style: at(t) }))),
    labels: element("div", { class: "mpreg-ticks" }, ...ticks.map((t) => element("span", { style: at(t) }, t.label))),
  };
}

class TimelineTab {
  constructor(run) {
    this.run = run;
    this.element = element("div", { class: "mpreg-page" });
  }

  update() {
    const { timeline } = this.run.detail;
    if (!timeline || this.shown === timeline) return;
    this.shown = timeline;
    const { lines, labels } = axis(timeline.ticks, timeline.end_s);
    const lanes = timeline.lanes.map((lane) => this.lane(lane, timeline.end_s));
    if (!lanes.length) {
      this.element.replaceChildren(element("p", { class: "mpreg-muted" }, "No step has been sent yet."));
      return;
    }
    const faults = timeline.faults.length ? this.faults(timeline) : null;
    const chart = element("div", { class: "mpreg-chart" }, lines, ...[faults, ...lanes].filter(Boolean), labels);
    this.element.replaceChildren(chart, this.legend(timeline));
  }

  // What befell the cluster: a band for as long as it lasted, its words beside its beginning.
  faults({ faults, end_s }) {
    const rows = Math.max(...faults.map((fault) => fault.row)) + 1;
    const track = element("div", { class: "mpreg-track", style: `height:${rows * 19 + 6}px` });
    for (const fault of faults) {
      const [from, to] = [fault.start_s, fault.end_s].map((s) => percent(s, end_s));
      const title = fault.end_s > fault.start_s ? `${fault.text}, for ${duration(fault.end_s - fault.start_s)}` : fault.text;
      const place = fault.before ? `right:calc(100% - ${from} + 4px)` : `left:calc(${from} + 6px)`;
      const top = `top:${fault.row * 19 + 4}px`;
      const band = `left:${from};width:calc(${to} - ${from});${top}`;
      track.append(
        element("i", { class: `mpreg-fault mpreg-${fault.tone}`, style: band, title }),
        element("span", { class: "mpreg-fault-words", style: `${place};${top}`, title }, `${fault.mark} ${fault.text}`),
      );
    }
    const name = element("div", { class: "mpreg-lane-name mpreg-muted" }, "faults");
    return element("div", { class: "mpreg-lane mpreg-faults" }, name, track);
  }

  outage({ kind, start_s, end_s }, whole_s) {
    const tone = { paused: "retrying", dead: "failed", lost: "cancelled" }[kind];
    const place = `left:${percent(start_s, whole_s)};width:${percent(end_s - start_s, whole_s)}`;
    // Bars of a paused node would lie on the word.
    const room = kind !== "paused" && ((end_s - start_s) / whole_s) * (this.run.width - 180) > 46;
    return element("div", { class: `mpreg-outage mpreg-${tone}`, style: place, title: kind }, room ? kind : null);
  }

  lane(lane, end_s) {
    const name = lane.node ?? "no node";
    const track = element("div", { class: "mpreg-track", style: `height:${lane.rows * 22 + 6}px` });
    // What waits is drawn first: a bar of the same row may lie on it.
    const spans = lane.bars.flatMap((bar) => bar.spans.map((span) => [bar, span]));
    const rank = { waiting: 0, travelling: 1, running: 2 };
    spans.sort((a, b) => rank[a[1].kind] - rank[b[1].kind]);
    track.append(...lane.outages.map((outage) => this.outage(outage, end_s)));
    track.append(...spans.map(([bar, span]) => this.span(bar, span, end_s)));
    return element("div", { class: "mpreg-lane" }, element("div", { class: "mpreg-lane-name", title: name }, name), track);
  }

  span(bar, span, end_s) {
    const index = this.run.index.get(bar.step);
    const step = this.run.scene.steps[index];
    const place = `left:${percent(span.start_s, end_s)};width:${percent(span.end_s - span.start_s, end_s)};top:${bar.row * 22 + 4}px`;
    const colour = `--mpreg-colour:${step.colour};--mpreg-ink:${step.ink}`;
    if (span.kind !== "running") return element("div", { class: `mpreg-span mpreg-span-${span.kind}`, style: `${place};${colour}` });
    const broken = BROKEN.has(bar.status);
    const kind = `mpreg-span mpreg-bar${broken ? ` mpreg-broken mpreg-${bar.status}` : ""}${bar.critical ? " mpreg-critical" : ""}`;
    const attempt = bar.attempt > 1 || bar.status === "retrying" ? `, attempt ${bar.attempt}` : "";
    const title = `${step.name}${attempt}: ${bar.status}, ${duration(span.end_s - span.start_s)}`;
    const open = () => this.run.open(index);
    // A name that has no room is noise; the title has it.
    const room = ((span.end_s - span.start_s) / end_s) * (this.run.width - 180) - (broken ? 24 : 10);
    const label = room > step.name.length * 6.2 ? element("span", {}, step.name) : null;
    return element(
      "button",
      { class: kind, style: `${place};${colour}`, title, "aria-label": title, type: "button", tabindex: "-1", onclick: open },
      broken ? mark(this.run, bar.status) : null,
      label,
    );
  }

  legend(timeline) {
    const functions = new Map(this.run.scene.steps.map((step) => [step.function, step.colour]));
    const names = [...functions].slice(0, 8).map(([name, colour]) => swatch(name, `background:${colour}`));
    const critical = timeline.critical.length ? [swatch("critical path", "", "mpreg-key-critical")] : [];
    return element("div", { class: "mpreg-legend" }, ...names, swatch("waiting", "", "mpreg-key-waiting"), swatch("travelling", "", "mpreg-key-travelling"), ...critical);
  }
}

function swatch(text, style, kind = "") {
  return element("span", {}, element("i", { class: kind, style }), text);
}

class LatencyTab {
  constructor(run) {
    this.run = run;
    this.element = element("div", { class: "mpreg-page" });
  }

  update() {
    const { latency } = this.run.detail;
    if (!latency || this.shown === latency) return;
    this.shown = latency;
    if (!latency.functions.length) {
      this.element.replaceChildren(element("p", { class: "mpreg-muted" }, "No step has run yet."));
      return;
    }
    this.colours = new Map(this.run.scene.steps.map((step) => [step.function, step.colour]));
    this.element.replaceChildren(this.calls(latency), ...this.shares(latency));
  }

  calls({ functions, ticks }) {
    const most_s = Math.max(...functions.map((f) => f.max_s));
    const { lines, labels } = axis(ticks, most_s);
    const heads = ["p50", "p90", "p99", "max"].map((name) => element("span", { class: "mpreg-number" }, name));
    const head = element("div", { class: "mpreg-lane mpreg-latency mpreg-muted" }, element("div"), element("div"), ...heads);
    const rows = functions.map((f) => this.function(f, most_s));
    return element("div", { class: "mpreg-chart mpreg-with-numbers" }, head, element("div", { class: "mpreg-rows" }, lines, ...rows), labels);
  }

  function(f, most_s) {
    const name = f.count > 1 ? `${f.function} (${f.count})` : f.function;
    const every = Math.max(1, Math.floor(f.runs_s.length / 150));
    const dots = f.runs_s.filter((_, i) => i % every === 0).map((s) => element("i", { class: "mpreg-dot", style: `left:${percent(s, most_s)}` }));
    const stem = element("i", { class: "mpreg-stem", style: `width:${percent(f.max_s, most_s)}` });
    const middle = f.count > 1 ? element("i", { class: "mpreg-median", style: `left:${percent(f.p50_s, most_s)}` }) : null;
    const track = element("div", { class: "mpreg-track", style: `--mpreg-colour:${this.colours.get(f.function)}` }, stem, ...dots, middle);
    const numbers = [f.p50_s, f.p90_s, f.p99_s, f.max_s].map((s) => element("span", { class: "mpreg-number" }, duration(s)));
    return element("div", { class: "mpreg-lane mpreg-latency" }, element("div", { class: "mpreg-lane-name", title: name }, name), track, ...numbers);
  }

  shares({ by_function }) {
    const total = (share) => share.waiting_s + share.travelling_s + share.running_s;
    const most_s = Math.max(...by_function.map(total));
    const kinds = ["waiting", "travelling", "running"];
    const rows = by_function.map((share) => {
      const parts = kinds.map((kind) => {
        const title = `${kind}: ${duration(share[`${kind}_s`])}`;
        return element("i", { class: `mpreg-share-${kind}`, style: `width:${percent(share[`${kind}_s`], most_s)}`, title });
      });
      const running = total(share) > 0 ? Math.round((100 * share.running_s) / total(share)) : 0;
      const track = element("div", { class: "mpreg-track mpreg-stack" }, ...parts);
      const text = element("span", { class: "mpreg-share-text" }, `${duration(total(share))}, ${running}% running`);
      return element("div", { class: "mpreg-lane mpreg-latency" }, element("div", { class: "mpreg-lane-name", title: share.name }, share.name), track, text);
    });
    const legend = kinds.map((kind) => swatch(kind, "", `mpreg-share-${kind}`));
    const head = element("div", { class: "mpreg-head mpreg-section" }, element("b", {}, "Where the time went"), element("div", { class: "mpreg-legend" }, ...legend));
    return [head, element("div", { class: "mpreg-chart mpreg-with-numbers" }, ...rows)];
  }
}

class StepsTab {
  constructor(run) {
    this.run = run;
    const names = ["", "Step", "Function", "Node", "Resources", "Attempts", "Waited", "Ran", "Error"];
    const number = new Set(["Attempts", "Waited", "Ran"]);
    const heads = names.map((name) => element("th", { scope: "col", class: number.has(name) ? "mpreg-number" : null }, name));
    this.rows = run.scene.steps.map((step, i) => this.row(step, i));
    const body = element("tbody", {}, ...this.rows.map((row) => row.element));
    const table = element("table", { class: "mpreg-table mpreg-steps" }, element("thead", {}, element("tr", {}, ...heads)), body);
    this.element = element("div", { class: "mpreg-page mpreg-flush" }, table);
  }

  row(step, index) {
    const cell = (text = "", kind = null) => element("td", { class: kind, title: text || null }, text);
    const open = () => this.run.open(index);
    const name = element("button", { class: "mpreg-link", type: "button", onclick: open }, step.name);
    const cells = {
      mark: cell(),
      node: cell(),
      attempts: cell("", "mpreg-number"),
      waited: cell("", "mpreg-number"),
      ran: cell("", "mpreg-number"),
      error: cell("", "mpreg-error"),
    };
    const all = [cells.mark, element("td", {}, name), cell(step.function), cells.node, cell(step.resources.join(", "))];
    all.push(cells.attempts, cells.waited, cells.ran, cells.error);
    return { element: element("tr", {}, ...all), cells, status: null };
  }

  update() {
    const { state, detail } = this.run;
    this.rows.forEach((row, i) => {
      const status = state.steps.status[i];
      if (row.status === status && ENDED.has(status) && row.detail === detail) return;
      if (row.status !== status) row.cells.mark.replaceChildren(mark(this.run, status));
      row.cells.mark.title = status;
      [row.status, row.detail] = [status, detail];
      write(row.cells.node, state.steps.node[i] ?? "");
      write(row.cells.attempts, state.steps.attempts[i] ? String(state.steps.attempts[i]) : "");
      write(row.cells.waited, known(state.steps.queued_s[i]));
      write(row.cells.ran, known(state.steps.ran_s[i]));
      const { failure, because } = detail.steps?.[i] ?? {};
      write(row.cells.error, failure ? `${failure.type_name}: ${failure.message}` : because ? `needs ${because}` : "");
      row.cells.error.title = row.cells.error.textContent;
    });
  }

  tick() {
    this.rows.forEach((row, i) => {
      if (row.status === "running") write(row.cells.ran, ticking(this.run.elapsed(i)));
    });
  }
}

// --- the panel of a step ---------------------------------------------------------------------------------------------

class Panel {
  constructor(run) {
    this.run = run;
    this.title = element("b", { class: "mpreg-panel-title" });
    this.mark = element("span");
    this.close = element("button", { class: "mpreg-quiet", type: "button", "aria-label": "Close", title: "Close (Esc)" }, "✕");
    this.close.addEventListener("click", () => run.shut());
    this.body = element("div", { class: "mpreg-panel-body" });
    const head = element("div", { class: "mpreg-panel-head" }, this.mark, this.title, this.close);
    this.element = element("aside", { class: "mpreg-panel", "aria-label": "Step", hidden: true }, head, this.body);
  }

  // Drawn again only if something changed: a person may be selecting text in it.
  update() {
    const { run } = this;
    const steps = run.opened;
    this.element.hidden = !steps;
    if (!steps) return;
    const { state, detail } = run;
    const status = steps.length === 1 ? state.steps.status[steps[0]] : run.nodeStatus(run.openedNode);
    const key = JSON.stringify([steps, steps.map((i) => this.facts(i)), steps.length === 1 && detail.steps?.[steps[0]], state.status]);
    if (this.key === key) return;
    this.key = key;
    this.mark.replaceChildren(mark(run, status));
    const parts = steps.length === 1 ? this.step(steps[0]) : this.group(steps);
    write(this.title, steps.length === 1 ? run.scene.steps[steps[0]].name : run.scene.nodes[run.openedNode].name);
    this.title.title = this.title.textContent;
    this.body.replaceChildren(...parts);
  }

  facts(i) {
    const { steps } = this.run.state;
    return Object.keys(steps).map((field) => steps[field][i]);
  }

  step(i) {
    const { run } = this;
    const step = run.scene.steps[i];
    const { steps } = run.state;
    const detail = run.detail.steps?.[i] ?? {};
    this.clock = element("span", {}, known(steps.ran_s[i]));
    const facts = [
      ["Status", detail.because ? `${steps.status[i]}: ${detail.because} failed` : steps.status[i]],
      ["Function", step.function],
      ["Needs", step.needs.length ? element("span", { class: "mpreg-links" }, ...step.needs.map((n) => this.link(n))) : ""],
      ["Resources", step.resources.join(", ")],
      ["Node", steps.node[i] ?? ""],
      ["Attempts", steps.attempts[i] ? String(steps.attempts[i]) : ""],
      ["Waited", known(steps.queued_s[i])],
      ["Travelled", known(steps.travel_s[i])],
      ["After", detail.fault ?? ""],
      ["Ran", steps.status[i] === "running" || steps.ran_s[i] !== null ? this.clock : ""],
    ].filter(([, value]) => value !== "");
    const list = element("dl", { class: "mpreg-facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
    const parts = [list];
    const section = (name, text, ...content) => {
      const head = element("div", { class: "mpreg-head" }, element("b", {}, name), text ? copyButton(text) : null);
      parts.push(element("section", { class: "mpreg-result" }, head, ...content));
    };
    const { failure } = detail;
    if (failure) section("Error", failure.traceback || `${failure.type_name}: ${failure.message}`, ...failed(failure));
    if (detail.earlier) section("Earlier attempts", "", ...detail.earlier.map((text) => element("div", { class: "mpreg-error" }, text)));
    if (detail.result) section("Result", previewText(detail.result), ...previewed(detail.result));
    if (detail.printed) section("Printed", detail.printed, element("pre", { class: "mpreg-text" }, detail.printed.trimEnd()));
    return parts;
  }

  group(steps) {
    const rows = steps.slice(0, 500).map((i) => element("div", { class: "mpreg-member" }, mark(this.run, this.run.state.steps.status[i]), this.link(i)));
    return [element("div", { class: "mpreg-muted" }, this.run.words(steps)), ...rows];
  }

  link(i) {
    return element("button", { class: "mpreg-link", type: "button", onclick: () => this.run.open(i) }, this.run.scene.steps[i].name);
  }

  tick() {
    const { opened, state } = this.run;
    if (opened?.length === 1 && state.steps.status[opened[0]] === "running") write(this.clock, ticking(this.run.elapsed(opened[0])));
  }
}

// --- the whole -------------------------------------------------------------------------------------------------------

// When a state came, so that elapsed times go on from there in every view of it. The host gives `initialize` and `render`
// different models, but they share the state.
const CAME_MS = new WeakMap();

class RunView {
  constructor(model, parent) {
    this.model = model;
    this.opened = null;
    this.openedNode = null;
    this.width = 0;
    this.headMark = element("span", { class: "mpreg-head-mark" });
    this.headline = element("span", { class: "mpreg-headline", role: "status" });
    this.clock = element("span", { class: "mpreg-elapsed" });
    this.cancel = element("button", { class: "mpreg-cancel", type: "button" }, "Cancel");
    this.cancel.addEventListener("click", () => this.sendCancel());
    this.progress = element("div", { class: "mpreg-progress", "aria-hidden": "true" });
    this.segments = PROGRESS.map((status) => element("i", { class: `mpreg-${status}` }));
    this.progress.append(...this.segments);
    this.tabList = element("div", { class: "mpreg-tabs", role: "tablist", "aria-label": "Views of the run" });
    this.main = element("div", { class: "mpreg-main" });
    const header = element("div", { class: "mpreg-header" }, this.headMark, this.headline, this.clock, this.cancel);
    // Otherwise JupyterLab takes Enter and the arrow keys for itself.
    this.root = element("div", { class: "mpreg-run", "data-lm-suppress-shortcuts": "true" }, header, this.progress, this.tabList, this.main);
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.opened && (event.stopPropagation(), this.shut()));
    parent.append(this.root);
    this.draw = this.draw.bind(this);
    this.soon = () => (this.frame ??= requestAnimationFrame(this.draw));
    model.on("change:scene change:state change:detail", this.soon);
    this.themes();
    this.sizes = new ResizeObserver(([entry]) => this.resize(entry.contentRect.width));
    this.sizes.observe(this.main);
    this.hideStatic();
    this.draw();
  }

  dispose() {
    this.model.off("change:scene change:state change:detail", this.soon);
    cancelAnimationFrame(this.frame);
    clearInterval(this.timer);
    this.sizes.disconnect();
    this.unTheme();
    this.showStatic();
    this.root.remove();
  }

  draw() {
    this.frame = null;
    this.state = this.model.get("state");
    this.detail = this.model.get("detail");
    if (!this.state.steps) return;
    if (!CAME_MS.has(this.state)) CAME_MS.set(this.state, performance.now());
    if (!this.scene) this.build();
    if (!this.scene) return;
    this.drawHeader();
    this.tab.update();
    this.panel.update();
    this.beat();
  }

  build() {
    const scene = this.model.get("scene");
    if (!scene.nodes) return;
    this.scene = scene;
    this.index = new Map(scene.steps.map((step, i) => [step.key, i]));
    this.nodeOf = new Map(scene.nodes.flatMap((node, i) => node.steps.map((step) => [step, i])));
    const kinds = { Graph: GraphTab, Results: ResultsTab, Timeline: TimelineTab, Latency: LatencyTab, Steps: StepsTab };
    this.makeTab = (name) => new kinds[name](this);
    this.made = {};
    this.panel = new Panel(this);
    this.host = element("div", { class: "mpreg-host", role: "tabpanel" });
    this.main.append(this.host, this.panel.element);
    this.tabs = TABS.map((name) => element("button", { class: "mpreg-tab", type: "button", role: "tab", onclick: () => this.select(name) }, name));
    this.tabList.append(...this.tabs);
    this.tabList.addEventListener("keydown", (event) => this.tabKey(event));
    this.theme();
    this.select("Graph");
    this.resize(this.main.clientWidth);
  }

  drawHeader() {
    const { state } = this;
    const going = state.status === "running";
    const shown = going && !state.steps.status.some((s) => s !== "waiting") ? "waiting" : state.status;
    if (this.shownStatus !== shown) this.headMark.replaceChildren(mark(this, shown));
    this.shownStatus = shown;
    write(this.headline, state.headline);
    this.cancel.classList.toggle("mpreg-gone", !going);
    const total = state.steps.status.length;
    PROGRESS.forEach((status, i) => (this.segments[i].style.width = percent(state.counts[status] ?? 0, total)));
    if (!going) write(this.clock, known(state.duration_s));
  }

  // A clock only while something runs: a finished run costs nothing.
  beat() {
    const going = this.state.status === "running";
    if (going && !this.timer) this.timer = setInterval(() => this.tick(), 200);
    if (!going) this.timer = clearInterval(this.timer);
    if (going) this.tick();
  }

  tick() {
    if (document.hidden || !this.root.offsetParent) return;
    write(this.clock, ticking(this.now()));
    this.tab.tick?.();
    this.panel.tick();
  }

  // Seconds since the run began.
  now() {
    return this.state.now_s + (performance.now() - CAME_MS.get(this.state)) / 1000;
  }

  elapsed(step) {
    return this.now() - this.state.steps.started_s[step];
  }

  nodeStatus(index) {
    return this.state.folded[index] ?? this.state.steps.status[this.scene.nodes[index].steps[0]];
  }

  words(steps) {
    const { status } = this.state.steps;
    if (steps.length === 1) return status[steps[0]];
    const counts = new Map();
    for (const i of steps) counts.set(status[i], (counts.get(status[i]) ?? 0) + 1);
    return `${steps.length} steps: ${[...counts].map(([s, n]) => `${n} ${s}`).join(", ")}`;
  }

  select(name) {
    const i = TABS.indexOf(name);
    this.tabs.forEach((tab, j) => {
      tab.setAttribute("aria-selected", String(i === j));
      tab.setAttribute("tabindex", i === j ? "0" : "-1");
    });
    if (this.opened && this.width <= NARROW) this.shut();
    if (this.tab) this.tab.element.hidden = true;
    this.tab = this.made[name] ??= this.makeTab(name);
    this.tab.element.hidden = false;
    // Each stays where it is when another one is shown: its scroll position would be lost.
    if (this.tab.element.parentNode !== this.host) this.host.append(this.tab.element);
    this.host.setAttribute("aria-label", name);
    this.tab.update();
    this.tab.tick?.();
  }

  tabKey(event) {
    const at = this.tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + TABS.length) % TABS.length;
    this.select(TABS[next]);
    this.tabs[next].focus();
  }

  openNode(index) {
    this.show(this.scene.nodes[index].steps, index);
  }

  open(step) {
    this.show([step], this.nodeOf.get(step) ?? null);
  }

  show(steps, node) {
    if (!this.opened) this.returnTo = document.activeElement;
    [this.opened, this.openedNode] = [steps, node];
    this.panel.update();
    this.panel.tick();
    this.made.Graph?.showOpened();
    this.panel.close.focus({ preventScroll: true });
    if (steps.length === 1) this.model.send({ kind: "open", step: steps[0] });
  }

  shut() {
    this.opened = this.openedNode = null;
    this.panel.update();
    this.made.Graph?.showOpened();
    this.returnTo?.focus({ preventScroll: true });
  }

  sendCancel() {
    this.model.send({ kind: "cancel" });
    this.cancel.disabled = true;
    this.cancel.textContent = "Cancelling…";
  }

  // All tabs are as high as the graph, within bounds: the page below does not jump.
  resize(width) {
    if (!this.scene || !width || width === this.width) return;
    this.width = width;
    const graph = this.made.Graph;
    // The latencies of four functions fit without a scroll bar.
    const functions = new Set(this.scene.steps.map((step) => step.function)).size;
    const least = Math.min(324, 200 + 31 * functions);
    this.main.style.height = `${Math.min(460, Math.max(least, Math.ceil(graph.height()) + 8))}px`;
    if (graph.scale === null) graph.fit();
  }

  themes() {
    this.theme = this.theme.bind(this);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.theme);
    this.body = new MutationObserver(this.theme);
    this.body.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  }

  unTheme() {
    this.dark.removeEventListener("change", this.theme);
    this.body.disconnect();
  }

  theme() {
    if (!this.scene) return;
    const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
    const dark = jpThemeLight ? jpThemeLight === "false" : vscodeThemeKind ? vscodeThemeKind.includes("dark") : this.dark.matches;
    this.root.dataset.theme = dark ? "dark" : "light";
    for (const [status, shades] of Object.entries(this.scene.palette)) {
      const shade = shades[dark ? "dark" : "light"];
      for (const part of ["fill", "stroke", "text"]) this.root.style.setProperty(`--mpreg-${status}-${part}`, shade[part]);
    }
  }

  // A cell shows this view and, in an output of its own, the picture for saved notebooks: one of them is enough.
  hideStatic() {
    const mine = this.root.closest(".jp-OutputArea-child");
    const area = mine?.parentElement;
    if (!area) return void (this.waiting ??= requestAnimationFrame(() => this.root.isConnected && this.hideStatic()));
    const find = () => {
      for (let next = mine.nextElementSibling; next; next = next.nextElementSibling) {
        if (next.querySelector(".mpreg-run")) return;
        if (!next.querySelector(".mpreg-run-static")) continue;
        if (this.hidden === next) return;
        this.hidden?.style.removeProperty("display");
        this.hidden = next;
        next.style.setProperty("display", "none", "important");
        return;
      }
    };
    this.outputs = new MutationObserver(find);
    this.outputs.observe(area, { childList: true, subtree: true });
    find();
  }

  showStatic() {
    this.outputs?.disconnect();
    this.hidden?.style.removeProperty("display");
  }
}

function initialize({ model }) {
  const came = () => CAME_MS.set(model.get("state"), performance.now());
  came();
  model.on("change:state", came);
  return () => model.off("change:state", came);
}

function render({ model, el }) {
  const view = new RunView(model, el);
  return () => view.dispose();
}

export default { initialize, render };
