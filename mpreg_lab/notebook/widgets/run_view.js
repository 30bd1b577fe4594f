// Draws one run. Python sends plain values (`scene`, `state`, `detail`), and this file only draws them; what a person does
// goes back in custom messages. Text of users becomes textContent, never markup. It stands
// behind tools.js. Over 500 lines because a widget is one script: no build, nothing from the network. From top to bottom:
// small tools, the tabs, the panel of a step, the whole.

const ENDED = new Set(["done", "reused", "cached", "failed", "skipped", "cancelled"]);
const SUCCEEDED = new Set(["done", "reused", "cached"]);
const BROKEN = new Set(["failed", "retrying", "cancelled"]);
const PROGRESS = ["done", "reused", "cached", "failed", "cancelled", "skipped", "retrying", "running"];
const TABS = ["Graph", "Results", "Timeline", "Latency", "Steps", "Events"];
const MARGIN = 16;
const LARGE = 200; // Boxes; of more, those out of sight are drawn without text: painting them takes the time.
const SPARE = 300; // px around what is in sight.
const FRAME_ROOM = 22; // px above the graph, for the handle of the uppermost frame.
const PATIENCE_MS = 4000; // So long the kernel may take before a person is told that it does.
const NARROW = 620; // px, as in the style sheet: the panel of a step covers the rest.

// --- small tools ---------------------------------------------------------------------------------------------------

// The same words as view/format.py.
function duration(seconds) {
  const three = (x) => (x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0));
  if (seconds < 0) return `-${duration(-seconds)}`;
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
  const body = preview.kind === "table" ? tableOf(preview) : element("pre", { class: "mpreg-text" }, preview.text);
  const more = preview.cut ? element("div", { class: "mpreg-muted" }, "Only the beginning is shown.") : null;
  return [element("div", { class: "mpreg-muted" }, about(preview)), body, more];
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
  // `last`: the graph before a fold; scale and place are kept.
  constructor(run, last = null) {
    this.run = run;
    this.scale = last?.scale ?? null; // None chosen by hand: fit to the width.
    this.critical = last?.critical ?? false;
    this.scene = run.scene; // Its own: a fold gives the run another one.
    const { nodes, edges } = this.scene;
    this.running = new Set();
    this.nodes = nodes.map((node, i) => this.node(node, i));
    this.edges = edges.map((edge) => ({ path: drawn("path", { class: "mpreg-edge", d: edge.path }), kind: null }));
    this.near = nodes.map(() => ({ up: [], down: [] }));
    edges.forEach(({ source, target }, i) => {
      this.near[source].down.push([target, i]);
      this.near[target].up.push([source, i]);
    });
    this.frames = this.scene.folds.filter((fold) => fold.frame).map((fold) => this.frame(fold));
    this.above = this.frames.length ? FRAME_ROOM : 0;
    const size = [-MARGIN, -MARGIN - this.above, ...this.size()];
    this.large = nodes.length > LARGE;
    this.svg = drawn("svg", { class: `mpreg-graph${this.large ? " mpreg-large" : ""}`, viewBox: size.join(" "), role: "group", "aria-label": "Dependency graph" });
    // In the order in which a person reads them: so Tab goes through them.
    const boxes = this.scene.order.map((i) => this.nodes[i].group);
    const frames = this.frames.map((frame) => frame.rect);
    const handles = this.frames.map((frame) => frame.handle);
    this.svg.append(this.arrowHeads(), ...frames, ...this.edges.map((edge) => edge.path), ...handles, ...boxes);
    this.pane = element("div", { class: "mpreg-pane", tabindex: "-1" }, this.svg);
    this.strip = element("button", { class: "mpreg-strip mpreg-strip-failed", type: "button", hidden: true });
    this.strip.addEventListener("click", () => run.open(this.firstFailed));
    this.note = element("div", { class: "mpreg-strip", hidden: true, role: "status" });
    const strips = element("div", { class: "mpreg-strips" }, this.note, this.strip);
    this.toolbar = this.tools();
    this.element = element("div", { class: "mpreg-graph-tab" }, this.pane, strips, this.toolbar);
    this.listen();
  }

  size() {
    const { width, height } = this.scene;
    return [width + 2 * MARGIN, height + 2 * MARGIN + this.above];
  }

  tools() {
    const button = (title, sign, act, more = {}) =>
      element("button", { class: "mpreg-quiet", type: "button", title, onclick: act, ...more }, sign);
    const { folds } = this.scene;
    const closed = folds.some((fold) => fold.closed);
    const names = folds.map((fold) => fold.name);
    this.foldAll = folds.length ? button(closed ? "Show all steps" : "Show each fan-out as one box", closed ? "Unfold all" : "Fold all", () => this.run.fold(names, !closed)) : null;
    this.disableFolds();
    const pressed = { "aria-pressed": String(this.critical) };
    this.criticalButton = button("Show the chain of steps that took the longest", "Critical path", () => this.showCritical(!this.critical), pressed);
    return element(
      "div",
      { class: "mpreg-tools", role: "toolbar", "aria-label": "Graph" },
      this.foldAll,
      this.criticalButton,
      button("Zoom out (Ctrl and the wheel)", "−", () => this.zoom(1 / 1.25), { "aria-label": "Zoom out" }),
      button("Show the whole graph", "Fit", () => this.fitAll()),
      button("Zoom in (Ctrl and the wheel)", "+", () => this.zoom(1.25), { "aria-label": "Zoom in" }),
    );
  }

  // Where everything is, is computed in the kernel.
  disableFolds() {
    if (this.foldAll) this.foldAll.disabled = this.run.gone;
  }

  arrowHeads() {
    // Each view has its own: a marker in a hidden view would not be drawn in another one.
    const view = `mpreg-arrow-${Math.random().toString(36).slice(2)}`;
    const size = { markerWidth: 8, markerHeight: 8, refX: 7, refY: 4, markerUnits: "userSpaceOnUse", orient: "auto" };
    this.arrow = (kind) => `url(#${view}-${kind})`;
    const head = (kind) => {
      const path = drawn("path", { d: "M0 .5L7.5 4L0 7.5Z", class: `mpreg-arrow mpreg-arrow-${kind}` });
      return drawn("marker", { id: `${view}-${kind}`, viewBox: "0 0 8 8", ...size }, path);
    };
    return drawn("defs", {}, ...["plain", "active", "traced", "critical"].map(head));
  }

  node(node, index) {
    const { x, y, width, height } = node;
    const middle = y + height / 2;
    const many = node.steps.length > 1;
    const rect = (d) => drawn("rect", { class: "mpreg-box", x: x + d, y: y + d, width, height, rx: 7 });
    const path = drawn("path", { class: "mpreg-node-mark", transform: `translate(${x + 9} ${middle - 8})` });
    const clock = drawn("text", { class: "mpreg-clock", x: x + width, y: y - 5 });
    const title = drawn("title");
    const bar = many ? drawn("g", { class: "mpreg-counts" }) : null;
    const group = drawn(
      "g",
      { class: "mpreg-node", tabindex: "0", role: "button", "data-node": index },
      title,
      many ? rect(4) : null,
      rect(0),
      path,
      drawn("text", { class: "mpreg-label", x: x + this.scene.text_left, y: middle - 3 }, node.label),
      drawn("text", { class: "mpreg-sublabel", x: x + this.scene.text_left, y: middle + 13 }, node.sublabel),
      bar,
      many ? this.sign("M-4 0H4M0 -4V4", x + width - 14, y + 13, "Show these steps", () => this.run.fold([node.name], false)) : null,
      clock,
    );
    return { group, path, clock, title, bar, status: null, key: null };
  }

  sign(path, x, y, title, act) {
    const parts = [drawn("title", {}, title), drawn("rect", { x: -8, y: -8, width: 16, height: 16, rx: 4 }), drawn("path", { d: path })];
    const group = drawn("g", { class: "mpreg-sign", transform: `translate(${x} ${y})` }, ...parts);
    group.addEventListener("click", (event) => (event.stopPropagation(), act()));
    return group;
  }

  frame(fold) {
    const [x, y, width, height] = fold.frame;
    const act = () => this.run.fold([fold.name], true);
    const handle = drawn(
      "g",
      { class: "mpreg-handle", tabindex: "0", role: "button", "aria-label": `Fold ${fold.label}`, onclick: act },
      drawn("title", {}, `Show ${fold.label} as one box`),
      this.sign("M-4 0H4", x + 9, y - 9, "Fold", act),
      drawn("text", { x: x + 22, y: y - 5 }, fold.label),
    );
    handle.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    });
    return { rect: drawn("rect", { class: "mpreg-frame", x, y, width, height, rx: 10 }), handle };
  }

  // --- mouse and keyboard ---

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
    this.pane.addEventListener("pointerdown", (event) => this.drag(event));
    const at = (event) => {
      const group = event.target.closest?.(".mpreg-node");
      return group ? Number(group.dataset.node) : null;
    };
    this.svg.addEventListener("click", (event) => at(event) !== null && this.run.openNode(at(event)));
    this.svg.addEventListener("keydown", (event) => at(event) !== null && this.key(event, at(event)));
    this.pane.addEventListener("keydown", (event) => this.zoomKey(event));
    this.svg.addEventListener("pointerover", (event) => this.hover(at(event)));
    this.svg.addEventListener("pointerleave", () => this.hover(null));
    this.svg.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && this.trace(at(event)));
    this.svg.addEventListener("focusout", () => this.trace(null));
    if (this.large) this.pane.addEventListener("scroll", () => this.cullSoon(), { passive: true });
  }

  cullSoon() {
    if (this.large) this.culling ??= requestAnimationFrame(() => ((this.culling = null), this.cull()));
  }

  // They stay in the page: Tab still reaches them, and is followed by the pane.
  cull() {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.pane;
    const scale = this.scale ?? this.fitting();
    const [left, top] = [scrollLeft / scale - MARGIN - SPARE, scrollTop / scale - MARGIN - this.above - SPARE];
    const [right, bottom] = [left + clientWidth / scale + 2 * SPARE, top + clientHeight / scale + 2 * SPARE];
    const far = scale < 0.3;
    this.scene.nodes.forEach(({ x, y, width, height }, i) => {
      const off = far || x > right || x + width < left || y > bottom || y + height < top;
      if (this.nodes[i].off === off) return;
      this.nodes[i].off = off;
      this.nodes[i].group.classList.toggle("mpreg-off", off);
    });
  }

  drag(event) {
    if (event.button !== 0 || event.target.closest(".mpreg-node, .mpreg-handle")) return;
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
  }

  key(event, index) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter" || event.key === " ") this.run.openNode(index);
    else if (way) this.focus(this.neighbour(index, ...way));
    else if (event.key === "f") this.run.foldOf(index);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  zoomKey(event) {
    const act = { "+": () => this.zoom(1.25), "-": () => this.zoom(1 / 1.25), 0: () => this.fitAll() }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  // Along an arrow if one leads that way, else to the nearest box there; what lies aside counts more.
  neighbour(index, dx, dy) {
    const middle = ({ x, y, width, height }) => [x + width / 2, y + height / 2];
    const { nodes } = this.scene;
    const [x, y] = middle(nodes[index]);
    const cost = (i) => {
      const [x_, y_] = middle(nodes[i]);
      const ahead = (x_ - x) * dx + (y_ - y) * dy;
      return ahead > 1 ? ahead + 3 * Math.abs((x_ - x) * dy + (y_ - y) * dx) : Infinity;
    };
    const nearest = (some) => some.reduce((best, i) => (cost(i) < cost(best) ? i : best), index);
    const near = [...this.near[index].up, ...this.near[index].down].map(([i]) => i);
    const along = nearest(near);
    return along === index ? nearest(nodes.map((_, i) => i)) : along;
  }

  focus(index) {
    this.nodes[index].group.focus({ preventScroll: true });
    this.reveal(index);
  }

  // In the pane alone: the page stays where it is.
  reveal(index) {
    const pane = this.pane.getBoundingClientRect();
    const box = this.nodes[index].group.getBoundingClientRect();
    const past = (low, high, from, to) => (low < from ? low - from : high > to ? Math.min(high - to, low - from) : 0);
    this.pane.scrollLeft += past(box.left - 12, box.right + 12, pane.left, pane.right);
    this.pane.scrollTop += past(box.top - 12, box.bottom + 12, pane.top, pane.bottom);
    this.uncover(index);
  }

  // Beneath the tools and what is said beside them a box could be neither read nor clicked.
  uncover(index) {
    const [box, ...covers] = [this.nodes[index].group, this.toolbar, this.strip, this.note].map((part) => part.getBoundingClientRect());
    const over = covers.filter(({ height, left, right }) => height && box.right > left && box.left < right);
    const under = box.bottom + 6 - Math.min(...over.map(({ top }) => top));
    if (!(under > 0)) return;
    const { scrollHeight, clientHeight, scrollTop } = this.pane;
    const missing = Math.max(0, under - (scrollHeight - clientHeight - scrollTop));
    this.svg.style.marginBottom = `${parseFloat(getComputedStyle(this.svg).marginBottom) + missing}px`;
    this.pane.scrollTop += under;
  }

  // --- what a step needs, and what needs it ---

  hover(index) {
    clearTimeout(this.hovering);
    // A mouse on its way elsewhere changes nothing.
    this.hovering = setTimeout(() => this.trace(index), index === null ? 60 : 140);
  }

  trace(index) {
    if (this.traced === index || this.scene !== this.run.scene) return;
    this.traced = index;
    const [nodes, edges] = index === null ? [new Set(), new Set()] : this.related(index);
    this.svg.classList.toggle("mpreg-tracing", index !== null);
    this.nodes.forEach((node, i) => node.group.classList.toggle("mpreg-on", nodes.has(i)));
    this.edges.forEach((edge, i) => (edge.traced = edges.has(i)));
    this.drawEdges();
  }

  related(index) {
    const [nodes, edges] = [new Set([index]), new Set()];
    for (const side of ["up", "down"]) {
      const todo = [index];
      const seen = new Set(todo);
      for (const at of todo) {
        for (const [next, edge] of this.near[at][side]) {
          edges.add(edge);
          if (seen.has(next)) continue;
          seen.add(next);
          nodes.add(next);
          todo.push(next);
        }
      }
    }
    return [nodes, edges];
  }

  showCritical(on) {
    this.critical = on;
    this.criticalButton.setAttribute("aria-pressed", String(on));
    this.drawCritical();
  }

  drawCritical() {
    const { run } = this;
    const steps = (this.critical && run.detail.timeline?.critical.map((name) => run.index.get(name))) || [];
    const path = steps.map((i) => run.nodeOf.get(i));
    const nodes = new Set(path);
    const edges = new Set(path.slice(1).map((node, i) => `${path[i]} ${node}`));
    this.nodes.forEach((node, i) => node.group.classList.toggle("mpreg-on-path", nodes.has(i)));
    this.scene.edges.forEach(({ source, target }, i) => (this.edges[i].critical = edges.has(`${source} ${target}`)));
    this.drawEdges();
    this.note.hidden = !this.critical;
    if (!this.critical) return;
    const { ran_s } = run.state.steps;
    const ran = steps.reduce((sum, i) => sum + (ran_s[i] ?? 0), 0);
    const whole = run.state.duration_s ?? run.state.now_s;
    const text = steps.length ? `Critical path: ${steps.length} ${steps.length === 1 ? "step" : "steps"} ran ${duration(ran)} of ${duration(whole)}` : "No step has ended yet";
    write(this.note, text);
  }

  // --- size ---

  // As wide as there is room, but never larger than life, and never too small to read.
  fitting() {
    return Math.max(0.6, this.wholeWidth());
  }

  wholeWidth() {
    return Math.min(1, Math.max(0.1, (this.run.width - 2) / this.size()[0]));
  }

  fitAll() {
    this.scale = Math.max(0.02, Math.min(this.wholeWidth(), (this.pane.clientWidth - 2) / this.size()[0], (this.pane.clientHeight - 2) / this.size()[1]));
    this.resize();
  }

  fit() {
    this.scale = null;
    this.resize();
    // A graph wider than the room begins with its first step, which may stand far to the right.
    const [first] = this.scene.nodes;
    const middle = first ? (first.x + first.width / 2 + MARGIN) * this.fitting() : 0;
    this.pane.scrollTo(middle - this.run.width / 2, 0);
  }

  zoom(factor, at = null) {
    const pane = this.pane.getBoundingClientRect();
    const [x, y] = at ? [at.clientX - pane.left, at.clientY - pane.top] : [pane.width / 2, pane.height / 2];
    const before = this.scale ?? this.fitting();
    this.scale = Math.min(3, Math.max(0.02, before * factor));
    const ratio = this.scale / before;
    const [left, top] = [this.pane.scrollLeft, this.pane.scrollTop];
    this.resize();
    this.pane.scrollLeft = (left + x) * ratio - x;
    this.pane.scrollTop = (top + y) * ratio - y;
  }

  resize() {
    const scale = this.scale ?? this.fitting();
    this.svg.style.width = `${this.size()[0] * scale}px`;
    this.svg.style.height = `${this.height(scale)}px`;
    this.cullSoon();
  }

  height(scale = this.fitting()) {
    return this.size()[1] * scale;
  }

  // After a fold: the box of that step stays where the eye is.
  place(index) {
    const box = this.nodes[index].group.getBoundingClientRect();
    const pane = this.pane.getBoundingClientRect();
    return [box.left - pane.left, box.top - pane.top];
  }

  putAt(index, [left, top]) {
    const [left_, top_] = this.place(index);
    this.pane.scrollLeft += left_ - left;
    this.pane.scrollTop += top_ - top;
    this.reveal(index);
  }

  // --- state: only what changed is drawn ---

  update() {
    const { run } = this;
    this.scene.nodes.forEach((node, i) => this.updateNode(node, i));
    this.drawEdges();
    if (this.critical && this.criticalOf !== run.detail) this.drawCritical();
    this.criticalOf = run.detail;
    this.showFailed();
    this.showOpened();
  }

  updateNode(node, i) {
    const { run } = this;
    const status = run.nodeStatus(i);
    const here = this.nodes[i];
    const many = node.steps.length > 1;
    const key = many ? `${status} ${run.words(node.steps)}` : status;
    if (here.key === key) return;
    here.key = key;
    if (here.status !== status) {
      if (here.status) here.group.classList.remove(`mpreg-${here.status}`);
      here.group.classList.add(`mpreg-${status}`);
      here.path.setAttribute("d", this.scene.marks[status]);
    }
    here.status = status;
    const words = `${node.name}: ${run.words(node.steps)}`;
    here.title.textContent = words;
    here.group.setAttribute("aria-label", many ? `${words}. F unfolds` : words);
    if (many) this.drawCounts(here.bar, node);
    else if (status === "running") this.running.add(i);
    else if (this.running.delete(i)) write(here.clock, "");
  }

  drawCounts(bar, node) {
    const counts = this.run.count(node.steps);
    const room = node.width - 16;
    let x = node.x + 8;
    bar.replaceChildren(
      ...[...PROGRESS, "queued", "waiting"].flatMap((status) => {
        const width = (room * (counts.get(status) ?? 0)) / node.steps.length;
        if (!width) return [];
        const rect = drawn("rect", { class: `mpreg-${status}`, x, y: node.y + node.height - 4.5, width, height: 3 });
        x += width;
        return [rect];
      }),
    );
  }

  drawEdges() {
    this.scene.edges.forEach(({ source, target }, i) => {
      const edge = this.edges[i];
      const active = this.nodes[target].status === "running";
      const waits = !SUCCEEDED.has(this.nodes[source].status);
      const kind = `${edge.traced ? "traced" : edge.critical ? "critical" : active ? "active" : "plain"}${waits ? " mpreg-edge-waits" : ""}`;
      if (edge.kind === kind) return;
      edge.kind = kind;
      edge.path.setAttribute("class", `mpreg-edge mpreg-edge-${kind}`);
      edge.path.setAttribute("marker-end", this.arrow(kind.split(" ")[0]));
    });
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
    const name = element("b", {}, this.scene.steps[this.firstFailed].name);
    this.strip.replaceChildren(mark(this.run, "failed"), name, element("span", {}, text + more));
  }

  showOpened() {
    if (this.opened === this.run.openedNode) return;
    this.nodes[this.opened]?.group.classList.remove("mpreg-opened");
    this.opened = this.run.openedNode;
    this.nodes[this.opened]?.group.classList.add("mpreg-opened");
  }

  tick() {
    for (const i of this.running) write(this.nodes[i].clock, ticking(this.run.elapsed(this.scene.nodes[i].steps[0])));
  }
}

class ResultsTab {
  constructor(run) {
    this.run = run;
    this.element = element("div", { class: "mpreg-page" });
  }

  update() {
    const { detail, state, panel } = this.run;
    if (this.shown === detail && this.status === state.status && this.answered === panel.answered) return;
    [this.shown, this.status, this.answered] = [detail, state.status, panel.answered];
    const blocks = [...this.failures(), ...(detail.results ?? []).map((result) => this.block(result))];
    if (!blocks.length) {
      const going = state.status === "running";
      blocks.push(element("p", { class: "mpreg-muted" }, going ? "Results appear here when the run ends." : "No results."));
    }
    this.element.replaceChildren(...blocks);
  }

  block({ name, key, preview }) {
    const step = this.run.index.get(key);
    if (step !== undefined) return this.run.panel.result(step, preview, name);
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

// The frames of a person's own code are shown, those of libraries folded away.
function failed(failure) {
  const head = element("div", { class: "mpreg-error" }, element("b", {}, failure.type_name), `: ${failure.message}`);
  const parts = failure.trace.filter((part) => part.text.trim());
  if (!parts.length) return [head];
  const lines = (part) => element("span", {}, part.text);
  const folded = (part) => element("details", {}, element("summary", {}, part.library), part.text);
  return [head, element("pre", { class: "mpreg-text" }, ...parts.map((part) => (part.library ? folded(part) : lines(part))))];
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

class EventsTab {
  constructor(run) {
    this.run = run;
    this.element = element("div", { class: "mpreg-page mpreg-flush" });
  }

  update() {
    const { events, earlier_events } = this.run.detail;
    if (!events || this.shown === events) return;
    this.shown = events;
    const atEnd = this.element.scrollTop + this.element.clientHeight >= this.element.scrollHeight - 4;
    const names = ["Time", "What", "Step", "Node", ""];
    const heads = names.map((name, i) => element("th", { scope: "col", class: i ? null : "mpreg-number" }, name));
    const rows = events.map((event) => this.row(event));
    const table = element("table", { class: "mpreg-table mpreg-steps mpreg-events" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
    const more = earlier_events ? element("p", { class: "mpreg-muted mpreg-earlier" }, `${earlier_events.toLocaleString("en")} earlier events are not shown: run.events() has all.`) : null;
    this.element.replaceChildren(...[more, table].filter(Boolean));
    // While it runs, the latest stay in sight, unless a person has scrolled back.
    if (atEnd && this.run.state.status === "running") this.element.scrollTop = this.element.scrollHeight;
  }

  row({ at_s, what, step, node, text }) {
    const index = this.run.index.get(step);
    const link = index === undefined ? "" : element("button", { class: "mpreg-link", type: "button", onclick: () => this.run.open(index) }, this.run.scene.steps[index].name);
    const cells = [duration(at_s), what, link, node ?? "", text];
    return element("tr", {}, ...cells.map((cell, i) => element("td", { class: i ? null : "mpreg-number", title: i === 4 ? text : null }, cell)));
  }
}

// --- the panel of a step ---------------------------------------------------------------------------------------------

class Panel {
  constructor(run) {
    this.run = run;
    this.sections = new Map();
    this.answers = new Map();
    this.answered = 0;
    this.title = element("b", { class: "mpreg-panel-title" });
    this.mark = element("span");
    this.close = element("button", { class: "mpreg-quiet", type: "button", "aria-label": "Close", title: "Close (Esc)" }, "✕");
    this.close.addEventListener("click", () => run.shut());
    this.body = element("div", { class: "mpreg-panel-body" });
    const head = element("div", { class: "mpreg-panel-head" }, this.mark, this.title, this.close);
    this.element = element("aside", { class: "mpreg-panel", "aria-label": "Step", hidden: true }, head, this.body);
  }

  update() {
    const { run } = this;
    const steps = run.opened;
    this.element.hidden = !steps;
    if (!steps) return;
    const status = steps.length === 1 ? run.state.steps.status[steps[0]] : run.countedStatus(steps);
    if (this.status !== status) this.mark.replaceChildren(mark(run, status));
    this.status = status;
    write(this.title, steps.length === 1 ? run.scene.steps[steps[0]].name : run.openedName);
    this.title.title = this.title.textContent;
    if (this.steps !== steps) this.sections.clear();
    this.steps = steps;
    this.show(steps.length === 1 ? this.step(steps[0]) : this.group(steps));
  }

  // Each section is drawn again only if something in it changed: a person may be selecting text in it.
  show(wanted) {
    const inside = this.body.contains(document.activeElement);
    const elements = wanted.map(([name, facts, draw]) => {
      const key = JSON.stringify([facts]);
      if (this.sections.get(name)?.key !== key) this.sections.set(name, { key, element: draw() });
      return this.sections.get(name).element;
    });
    elements.forEach((child, i) => {
      if (this.body.children[i] !== child) this.body.insertBefore(child, this.body.children[i] ?? null);
    });
    while (this.body.children.length > elements.length) this.body.lastChild.remove();
    // The button that was pressed may be gone; Esc must still be heard here.
    if (inside && !this.body.contains(document.activeElement)) this.close.focus({ preventScroll: true });
  }

  step(i) {
    const { run } = this;
    const { steps } = run.state;
    const detail = run.detail.steps?.[i] ?? {};
    const { failure, attempts, result, printed } = detail;
    const own = [i, ...Object.values(steps).map((column) => column[i])];
    const answer = (what) => this.answers.get(`${what} ${i}`);
    const sections = [
      ["facts", [own, detail.because, detail.fault], () => this.facts(i, detail)],
      run.able.includes("rerun") && run.state.status !== "running" && ["rerun", [answer("rerun")?.version, run.gone], () => this.rerun(i)],
      failure && ["trace", [failure, answer("trace")?.version, run.gone], () => this.error(i, failure)],
      attempts && ["attempts", attempts, () => this.attempts(attempts)],
      run.scene.steps[i].arguments.length && ["arguments", i, () => this.arguments(run.scene.steps[i].arguments)],
      SUCCEEDED.has(steps.status[i]) && ["result", [i, result, answer("result")?.version, run.able, run.gone], () => this.result(i, result)],
      printed && ["printed", [printed, answer("printed")?.version, run.gone], () => this.printed(i, detail)],
      this.times(i).length && ["times", own, () => this.section("Times", "", this.timesTable(i))],
    ];
    return sections.filter(Boolean);
  }

  section(name, copied, ...content) {
    const head = element("div", { class: "mpreg-head" }, element("b", {}, name), copied ? copyButton(copied) : null);
    return element("section", { class: "mpreg-result" }, head, ...content);
  }

  facts(i, detail) {
    const { run } = this;
    const step = run.scene.steps[i];
    const { steps } = run.state;
    this.clock = element("span", {}, known(steps.ran_s[i]));
    const links = (all) => (all.length ? element("span", { class: "mpreg-links" }, ...all.slice(0, 200).map((n) => this.link(n))) : "");
    const facts = [
      ["Status", detail.because ? `${steps.status[i]}: ${detail.because} failed` : steps.status[i]],
      ["Function", step.function],
      ["Needs", links(step.needs)],
      ["Needed by", links(run.dependents(i))],
      ["Resources", step.resources.join(", ")],
      ["Node", steps.node[i] ?? ""],
["Attempts", steps.attempts[i] > 1 ? String(steps.attempts[i]) : ""],
      ["After", detail.fault ?? ""],
      ["Ran", steps.status[i] === "running" || steps.ran_s[i] !== null ? this.clock : ""],
    ].filter(([, value]) => value !== "");
    return element("dl", { class: "mpreg-facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  }

  // What happened when, and how long each thing took.
  times(i) {
    const { ready_s, sent_s, started_s, ended_s, queued_s, travel_s, ran_s } = this.run.state.steps;
    return [
      ["Queued", ready_s[i], ""],
      ["Sent", sent_s[i], queued_s[i] === null ? "" : `waited ${duration(queued_s[i])}`],
      ["Started", started_s[i], travel_s[i] === null ? "" : `travelled ${duration(travel_s[i])}`],
      ["Finished", ended_s[i], ran_s[i] === null ? "" : `ran ${duration(ran_s[i])}`],
    ].filter(([, at]) => at !== null);
  }

  timesTable(i) {
    const rows = this.times(i).map(([name, at, took]) =>
      element("tr", {}, element("td", {}, name), element("td", { class: "mpreg-number" }, duration(at)), element("td", { class: "mpreg-muted" }, took)),
    );
    const head = element("tr", {}, element("th"), element("th", { class: "mpreg-number", scope: "col" }, "since the run began"), element("th"));
    return element("table", { class: "mpreg-table" }, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  attempts(attempts) {
    const cell = (text, kind = null) => element("td", { class: kind, title: text }, text);
    const rows = attempts.map((a) =>
      element(
        "tr",
        {},
        element("td", {}, mark(this.run, a.status)),
        cell(a.node ?? "no node"),
        ...[a.sent_s, a.started_s, a.ended_s].map((at) => cell(known(at), "mpreg-number")),
        element("td", { class: "mpreg-outcome", title: a.outcome }, a.outcome),
      ),
    );
    const names = ["", "Node", "Sent", "Started", "Ended", "Outcome"];
    const heads = names.map((name, i) => element("th", { scope: "col", class: i > 1 && i < 5 ? "mpreg-number" : null }, name));
    const table = element("table", { class: "mpreg-table" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
    return this.section("Attempts", "", element("div", { class: "mpreg-wide" }, table));
  }

  arguments(given) {
    const piece = ({ text, step }) => (step === undefined ? element("span", {}, text) : this.link(step, text));
    const rows = given.flatMap(({ name, pieces }) => [element("dt", {}, name), element("dd", {}, ...pieces.map(piece))]);
    const text = given.map(({ name, pieces }) => `${name}: ${pieces.map((p) => p.text).join("")}`).join("\n");
    return this.section("Arguments", text, element("dl", { class: "mpreg-facts mpreg-arguments" }, ...rows));
  }

  error(i, failure) {
    const answer = this.answers.get(`trace ${i}`);
    const trace = answer?.trace ?? failure.trace;
    const text = trace.map((part) => part.text).join("");
    const more = text.startsWith("…") ? this.askButton("trace", i, "Show all of the traceback") : null;
    return this.section("Error", text || `${failure.type_name}: ${failure.message}`, ...failed({ ...failure, trace }), more, hint(answer));
  }

  result(i, preview, name = "Result") {
    const { run } = this;
    const answer = this.answers.get(`result ${i}`);
    const got = answer?.result;
    const shown = got?.preview ?? preview;
    const content = [];
    if (got?.html || got?.image) content.push(element("div", { class: "mpreg-muted" }, about(shown)), got.html ? page(run.root, got) : picture(got.image));
    else if (shown) content.push(...previewed(shown));
    else content.push(element("div", { class: "mpreg-muted" }, `It stays on ${run.state.steps.node[i] ?? "its node"} until it is asked for.`));
    if (got?.note) content.push(element("div", { class: "mpreg-muted" }, got.note));
    const ask = run.able.includes("fetch") && !got && (!shown || shown.cut || shown.rich) ? this.askButton("result", i, "Show") : null;
    return this.section(name, shown ? previewText(shown) : "", ...content, ask, hint(answer));
  }

  printed(i, { printed, printed_chars }) {
    const answer = this.answers.get(`printed ${i}`);
    const text = answer?.printed ?? printed;
    const more = printed_chars && !answer?.printed ? this.askButton("printed", i, `Show all ${printed_chars.toLocaleString("en")} characters`) : null;
    return this.section("Printed", text, element("pre", { class: "mpreg-text" }, text.trimEnd()), more, hint(answer));
  }

  rerun(i) {
    const answer = this.answers.get(`rerun ${i}`);
    const name = this.run.scene.steps[i].name;
    const button = this.askButton("rerun", i, "Re-run from here", `Run ${name} and all that needs it again; the other results are used again`);
    return element("section", { class: "mpreg-result" }, button, hint(answer));
  }

  // Asks the kernel; what it answers is kept here, in the page alone.
  askButton(what, i, text, title = null) {
    const answer = this.answers.get(`${what} ${i}`);
    const waiting = answer?.waiting ?? false;
    const { gone } = this.run;
    const attributes = { class: "mpreg-ask", type: "button", title: gone ? GONE : title, disabled: waiting || gone };
    const button = element("button", attributes, waiting && !gone ? "Asking the kernel…" : text);
    button.addEventListener("click", () => this.ask(what, i));
    return button;
  }

  ask(what, step) {
    const key = `${what} ${step}`;
    const set = (answer) => {
      const older = this.answers.get(key);
      this.answers.set(key, { ...answer, version: (older?.version ?? 0) + 1 });
      this.answered += 1;
      this.update();
      this.run.tab.update();
      if (!answer.waiting) this.reveal(what);
    };
    set({ waiting: true });
    this.run.ask(what, step, set);
  }

  // What was asked for comes into sight, its head first.
  reveal(name) {
    const section = this.sections.get(name)?.element;
    if (!section?.isConnected) return;
    const [body, box] = [this.body.getBoundingClientRect(), section.getBoundingClientRect()];
    this.body.scrollTop += Math.min(box.top - body.top, Math.max(0, box.bottom - body.bottom));
  }

  group(steps) {
    const { run } = this;
    const states = steps.slice(0, 500).map((i) => run.state.steps.status[i]);
    const fold = run.scene.folds.find((f) => f.name === run.openedFold);
    const button = fold && element("button", { class: "mpreg-ask", type: "button", onclick: () => run.fold([fold.name], !fold.closed) }, fold.closed ? "Unfold" : "Fold");
    const rows = () => states.map((status, n) => element("div", { class: "mpreg-member" }, mark(run, status), this.link(steps[n])));
    return [
      ["words", [run.words(steps), fold?.closed], () => element("div", { class: "mpreg-muted mpreg-words" }, run.words(steps), button)],
      ["members", states, () => element("div", {}, ...rows())],
    ];
  }

  link(i, text = null) {
    return element("button", { class: "mpreg-link", type: "button", onclick: () => this.run.open(i) }, text ?? this.run.scene.steps[i].name);
  }

  tick() {
    const { opened, state } = this.run;
    if (opened?.length === 1 && state.steps.status[opened[0]] === "running") write(this.clock, ticking(this.run.elapsed(opened[0])));
  }
}

function about(preview) {
  return [preview.type_name, preview.note].filter(Boolean).join(", ");
}

function hint(answer) {
  const text = answer?.error ?? answer?.hint;
  return text ? element("div", { class: answer.error ? "mpreg-error" : "mpreg-muted", role: "status" }, text) : null;
}

function picture(uri) {
  return element("img", { class: "mpreg-picture", src: uri, alt: "The result" });
}

// HTML of a value, from a class of the user or of a library: a page of its own, without scripts, links out or network.
function page(root, { html, height_px }) {
  const style = getComputedStyle(root);
  const [ink, ground] = [style.color, style.backgroundColor];
  const line = "rgb(128 128 128 / 30%)";
  const rules =
    `html{color-scheme:${root.dataset.theme}}body{margin:0;background:${ground};color:${ink};font:12px/1.45 ${style.fontFamily}}` +
    `table{border-collapse:collapse;border:0}th,td{padding:3px 8px;border:0;border-bottom:1px solid ${line};text-align:right}`;
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:";
  const head = `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><style>${rules}</style>`;
  return element("iframe", { class: "mpreg-shown", sandbox: true, srcdoc: head + html, title: "The result", style: `height:${height_px}px` });
}

// --- the whole -------------------------------------------------------------------------------------------------------

const SLOW = "The kernel has not answered yet: it is busy, or it was restarted, and then this run is gone from it. Run the cell again.";
const GONE = "The kernel that ran this is gone: what is not on this page cannot be shown any more. Run the cell again.";

// When a state came, so that elapsed times go on from there in every view of it. The host gives `initialize` and `render`
// different models, but they share the state.
const CAME_MS = new WeakMap();

class RunView {
  constructor(model, parent) {
    this.model = model;
    this.opened = null; // Indices of the steps in the panel.
    this.openedNode = null;
    this.openedFold = null; // Its name, if they are a fold.
    this.width = 0;
    this.questions = new Map();
    this.asked = 0;
    this.gone = false; // The kernel, as far as is known: then buttons that ask it do nothing.
    this.headMark = element("span", { class: "mpreg-head-mark" });
    this.headline = element("span", { class: "mpreg-headline", role: "status" });
    this.clock = element("span", { class: "mpreg-elapsed" });
    this.left = element("span", { class: "mpreg-left" });
    this.said = element("span", { class: "mpreg-left", hidden: true });
    this.lost = element("div", { class: "mpreg-unheard", role: "status", hidden: true });
    this.cancel = element("button", { class: "mpreg-cancel", type: "button" }, "Cancel");
    this.cancel.addEventListener("click", () => this.sendCancel());
    this.progress = element("div", { class: "mpreg-progress", "aria-hidden": "true" });
    this.segments = PROGRESS.map((status) => element("i", { class: `mpreg-${status}` }));
    this.progress.append(...this.segments);
    this.tabList = element("div", { class: "mpreg-tabs", role: "tablist", "aria-label": "Views of the run" });
    this.main = element("div", { class: "mpreg-main" });
    const header = element("div", { class: "mpreg-header" }, this.headMark, this.headline, this.clock, this.left, this.said, this.cancel);
    // Otherwise JupyterLab takes Enter and the arrow keys for itself.
    this.root = element("div", { class: "mpreg-run", "data-lm-suppress-shortcuts": "true" }, header, this.progress, this.lost, this.tabList, this.main);
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.opened && (event.stopPropagation(), this.shut()));
    parent.append(this.root);
    this.draw = this.draw.bind(this);
    this.soon = () => (this.frame ??= requestAnimationFrame(this.draw));
    model.on("change:scene change:state change:detail change:able change:again", this.soon);
    this.answer = this.answer.bind(this);
    model.on("msg:custom", this.answer);
    this.unplugged = () => this.ask("alive", 0, (answer) => answer.hint && this.showLost(answer.hint));
    model.on("comm_live_update", this.unplugged);
    this.themes();
    this.sizes = new ResizeObserver(([entry]) => this.resize(entry.contentRect.width));
    this.sizes.observe(this.main);
    this.hideStatic();
    this.draw();
  }

  dispose() {
    this.model.off("change:scene change:state change:detail change:able change:again", this.soon);
    this.model.off("msg:custom", this.answer);
    this.model.off("comm_live_update", this.unplugged);
    for (const { patience } of this.questions.values()) clearTimeout(patience);
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
    this.able = this.model.get("able") ?? [];
    this.beginAgain(this.model.get("again")?.count ?? 0);
    if (!this.state.steps) return;
    if (!CAME_MS.has(this.state)) CAME_MS.set(this.state, performance.now());
    if (!this.scene) this.build();
    else if (this.scene !== this.model.get("scene")) this.rebuild();
    if (!this.scene) return;
    this.drawHeader();
    this.tab.update();
    this.panel.update();
    this.beat();
  }

  build() {
    const scene = this.model.get("scene");
    if (!scene.nodes) return;
    this.take(scene);
    const kinds = { Graph: GraphTab, Results: ResultsTab, Timeline: TimelineTab, Latency: LatencyTab, Steps: StepsTab, Events: EventsTab };
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

  take(scene) {
    this.scene = scene;
    this.index = new Map(scene.steps.map((step, i) => [step.key, i]));
    this.nodeOf = new Map(scene.nodes.flatMap((node, i) => node.steps.map((step) => [step, i])));
    this.needed = scene.steps.map(() => []);
    scene.steps.forEach((step, i) => step.needs.forEach((need) => this.needed[need].push(i)));
  }

  // Another run of the workflow: what was fetched of the last one is not of this one.
  beginAgain(count) {
    if (this.runs === count) return;
    this.runs = count;
    this.panel?.answers.clear();
    this.cancel.disabled = false;
    this.cancel.textContent = "Cancel";
    this.said.hidden = !count;
    write(this.said, this.model.get("again")?.text ?? "");
  }

  // Something was folded or unfolded: the graph is another, the rest is as before.
  rebuild() {
    const last = this.made.Graph;
    const eye = this.eye ?? 0;
    const place = last.place(this.nodeOf.get(eye));
    const inside = last.element.contains(document.activeElement);
    this.take(this.model.get("scene"));
    const graph = new GraphTab(this, last);
    this.made.Graph = graph;
    graph.element.hidden = last.element.hidden;
    last.element.replaceWith(graph.element);
    if (this.tab === last) this.tab = graph;
    if (this.openedNode !== null) this.openedNode = this.nodeOf.get(this.opened[0]);
    // Room for what was unfolded; none is taken back.
    this.height = Math.max(this.height, this.room());
    this.main.style.height = `${this.height}px`;
    graph.resize();
    graph.update();
    graph.tick();
    const node = this.nodeOf.get(eye);
    if (graph.element.hidden) return;
    graph.putAt(node, place);
    if (inside || document.activeElement === document.body) graph.nodes[node].group.focus({ preventScroll: true });
  }

  fold(names, closed) {
    const fold = this.scene.folds.find((f) => names.includes(f.name));
    if (!fold) return;
    // The first of its steps is what a person looks at.
    [this.eye] = fold.steps;
    this.send({ kind: "fold", names, closed });
    this.waitFor("fold", () => this.scene.folds.find((f) => f.name === fold.name)?.closed === closed);
  }

  foldOf(index) {
    const { steps, name } = this.scene.nodes[index];
    const fold = this.scene.folds.find((f) => (steps.length > 1 ? f.name === name : f.steps.includes(steps[0])));
    if (fold) this.fold([fold.name], !fold.closed);
  }

  // --- the kernel ---

  send(content) {
    try {
      this.model.send(content);
      return true;
    } catch {
      this.showLost(GONE);
      return false;
    }
  }

  // `heard` is called with what is known: first, if the kernel takes long, with a hint; then with its answer.
  ask(what, step, heard) {
    const id = (this.asked += 1);
    const patience = setTimeout(() => heard({ waiting: true, hint: SLOW }), PATIENCE_MS);
    this.questions.set(id, { heard, patience });
    if (!this.send({ kind: "ask", id, what, step })) this.answer({ kind: "answer", id, error: GONE });
  }

  answer(content) {
    const question = content?.kind === "answer" && this.questions.get(content.id);
    if (!question) return;
    this.questions.delete(content.id);
    clearTimeout(question.patience);
    question.heard(content);
    this.showLost(content.error === GONE ? GONE : "");
  }

  waitFor(name, came) {
    setTimeout(() => !came() && this.showLost(SLOW), PATIENCE_MS);
  }

  showLost(text) {
    this.lost.hidden = !text;
    write(this.lost, text);
    if (this.gone === (text === GONE)) return;
    this.gone = text === GONE;
    this.cancel.disabled = this.gone;
    this.cancel.textContent = "Cancel";
    this.cancel.title = this.gone ? GONE : "";
    if (!this.scene) return;
    this.made.Graph.disableFolds();
    this.panel.answered += 1;
    this.tab.update();
    this.panel.update();
    this.beat();
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
    if (!going) [this.clock, this.left].forEach((part, i) => write(part, i ? "" : known(state.duration_s)));
    if (going && this.lost.textContent === SLOW) this.showLost("");
  }

  dependents(step) {
    return this.needed[step];
  }

  // A clock only while something runs: a finished run costs nothing.
  beat() {
    const going = this.state.status === "running" && !this.gone;
    if (going && !this.timer) this.timer = setInterval(() => this.tick(), 200);
    if (!going) this.timer = clearInterval(this.timer);
    if (going) this.tick();
  }

  tick() {
    if (document.hidden || !this.root.offsetParent) return;
    write(this.clock, ticking(this.now()));
    write(this.left, this.rest());
    this.tab.tick?.();
    this.panel.tick();
  }

  // Seconds since the run began.
  now() {
    return this.state.now_s + (performance.now() - CAME_MS.get(this.state)) / 1000;
  }

  // Counts down between two estimates; what is nearly over needs no figure.
  rest() {
    const { left_s, at_least, now_s } = this.state;
    const left = left_s === null ? 0 : left_s - (this.now() - now_s);
    if (left < 1) return "";
    const about = left < 10 ? Math.round(left) : left < 60 ? Math.round(left / 5) * 5 : Math.round(left / 60) * 60;
    return at_least ? `at least ${duration(about).replace(/\.\d+| 0 s$/g, "")} left` : `~${duration(about).replace(/\.\d+| 0 s$/g, "")} left`;
  }

  elapsed(step) {
    return this.now() - this.state.steps.started_s[step];
  }

  nodeStatus(index) {
    return this.state.folded[index] ?? this.state.steps.status[this.scene.nodes[index].steps[0]];
  }

  // The state of several steps is computed in Python for those that are one box; of others the first that has not ended.
  countedStatus(steps) {
    if (this.openedNode !== null && this.scene.nodes[this.openedNode].steps.length > 1) return this.nodeStatus(this.openedNode);
    const { status } = this.state.steps;
    return status[steps.find((i) => !ENDED.has(status[i])) ?? steps[0]];
  }

  count(steps) {
    const { status } = this.state.steps;
    const counts = new Map();
    for (const i of steps) counts.set(status[i], (counts.get(status[i]) ?? 0) + 1);
    return counts;
  }

  words(steps) {
    if (steps.length === 1) return this.state.steps.status[steps[0]];
    return `${steps.length} steps: ${[...this.count(steps)].map(([s, n]) => `${n} ${s}`).join(", ")}`;
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
    const { steps, name } = this.scene.nodes[index];
    this.openedFold = steps.length > 1 ? name : null;
    this.show(steps, index);
  }

  get openedName() {
    return this.openedFold ?? "";
  }

  open(step) {
    this.openedFold = null;
    this.show([step], this.nodeOf.get(step) ?? null);
  }

  show(steps, node) {
    if (!this.opened) this.returnTo = document.activeElement;
    [this.opened, this.openedNode] = [steps, node];
    this.panel.update();
    this.panel.tick();
    this.made.Graph?.showOpened();
    this.panel.close.focus({ preventScroll: true });
    if (this.tab === this.made.Graph && node !== null) this.tab.reveal(node);
    if (steps.length === 1) this.send({ kind: "open", step: steps[0] });
  }

  shut() {
    this.opened = this.openedNode = null;
    this.panel.update();
    this.made.Graph?.showOpened();
    this.made.Graph?.svg.style.removeProperty("margin-bottom");
    this.returnTo?.focus({ preventScroll: true });
  }

  sendCancel() {
    if (!this.send({ kind: "cancel" })) return;
    this.waitFor("cancel", () => this.state.status !== "running");
    this.cancel.disabled = true;
    this.cancel.textContent = "Cancelling…";
  }

  // All tabs are as high as the graph, within bounds: the page below does not jump.
  resize(width) {
    if (!this.scene || !width || width === this.width) return;
    this.width = width;
    this.height = this.room();
    this.main.style.height = `${this.height}px`;
    if (this.made.Graph.scale === null) this.made.Graph.fit();
  }

  room() {
    // The latencies of four functions fit without a scroll bar.
    const functions = new Set(this.scene.steps.map((step) => step.function)).size;
    const least = Math.min(324, 200 + 31 * functions);
    return Math.min(460, Math.max(least, Math.ceil(this.made.Graph.height()) + 8));
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
    if (this.scene) paint(this.root, this.scene.palette, this.dark.matches);
  }

  // A cell shows this view and, in outputs of their own, the pictures for saved notebooks: of the run that the cell
  // began, and of the last one that was run again from here. They are hidden as long as this view is there.
  hideStatic() {
    const mine = this.root.closest(".jp-OutputArea-child");
    const area = mine?.parentElement;
    if (!area) return void (this.waiting ??= requestAnimationFrame(() => this.root.isConnected && this.hideStatic()));
    const find = () => {
      const twins = [];
      for (let next = mine.nextElementSibling; next; next = next.nextElementSibling) {
        if (next.querySelector(".mpreg-run")) break;
        if (next.querySelector(twins.length ? ".mpreg-run-again" : ".mpreg-run-static")) twins.push(next);
      }
      const before = this.hidden ?? [];
      for (const twin of before) if (!twins.includes(twin)) twin.style.removeProperty("display");
      for (const twin of twins) if (!before.includes(twin)) twin.style.setProperty("display", "none", "important");
      this.hidden = twins;
    };
    this.outputs = new MutationObserver(find);
    this.outputs.observe(area, { childList: true, subtree: true });
    find();
  }

  showStatic() {
    this.outputs?.disconnect();
    for (const twin of this.hidden ?? []) twin.style.removeProperty("display");
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
