// Draws one cluster. Python sends plain values (`scene`, `state`, `links`, `detail`, `notice`), and this file only draws
// them; what a person wants done goes back in custom messages. Text of users becomes textContent, never markup. It stands
// behind tools.js. Over 500 lines because a widget is one script: no build, nothing from the network. From top to bottom:
// small tools, the picture, the panel, the whole.

const MARGIN = 14;
const TALLEST = 470; // px of the picture; more scrolls.
const UNHEARD = "The kernel that showed this is gone: nothing can be done from here any more. Run the cell again.";

// --- small tools ---------------------------------------------------------------------------------------------------

// Enter and the space bar do what a click does.
function pressed(act) {
  return (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  };
}

// --- the picture -----------------------------------------------------------------------------------------------------

class Picture {
  constructor(view) {
    this.view = view;
    this.pane = element("div", { class: "mpreg-pane mpreg-cluster-pane", tabindex: "-1" });
  }

  // The nodes are others, or stand elsewhere.
  build() {
    const { scene } = this.view;
    const box = [-MARGIN, -MARGIN, scene.width + 2 * MARGIN, scene.height + 2 * MARGIN];
    this.svg = drawn("svg", { class: "mpreg-graph", viewBox: box.join(" "), role: "group", "aria-label": "Nodes of the cluster" });
    this.lines = new Map(scene.lines.map((line) => [`${line.a} ${line.b}`, this.line(line)]));
    this.labels = drawn("g", {});
    this.doubts = drawn("g", {});
    this.nodes = scene.nodes.map((node, i) => this.node(node, i));
    const drawnLines = [...this.lines.values()].map((line) => line.group);
    const focus = document.activeElement?.closest?.(".mpreg-node")?.dataset.key;
    this.svg.append(this.arrowHeads(), ...drawnLines, this.doubts, this.labels, ...this.nodes.map((node) => node.group));
    this.pane.replaceChildren(this.svg);
    this.nodes.find((_, i) => scene.nodes[i].key === focus)?.group.focus({ preventScroll: true });
    this.resize();
  }

  arrowHeads() {
    // Each view has its own: a marker in a hidden view would not be drawn in another one.
    this.heads = `mpreg-doubt-${Math.random().toString(36).slice(2)}`;
    const size = { markerWidth: 9, markerHeight: 9, refX: 7, refY: 4, markerUnits: "userSpaceOnUse", orient: "auto" };
    const head = (look) => {
      const tip = drawn("path", { d: "M0 .5L7.5 4L0 7.5Z", class: `mpreg-doubt-head mpreg-${look}` });
      return drawn("marker", { id: `${this.heads}-${look}`, viewBox: "0 0 8 8", ...size }, tip);
    };
    return drawn("defs", {}, head("suspected"), head("lost"));
  }

  line(line) {
    const title = drawn("title");
    const open = () => this.view.open({ link: [line.a, line.b] });
    const seen = drawn("path", { class: "mpreg-link-line", d: line.path });
    // As broad as a finger, and not seen.
    const felt = drawn("path", { class: "mpreg-link-felt", d: line.path });
    return { group: drawn("g", { class: "mpreg-cluster-link", onclick: open }, title, felt, seen), title };
  }

  node(node, index) {
    const { x, y, width, height } = node;
    const middle = y + height / 2;
    const left = x + this.view.scene.text_left;
    const open = () => this.view.open({ node: index });
    const mark = drawn("path", { class: "mpreg-node-mark", transform: `translate(${x + 8} ${middle - 8})` });
    const line = drawn("text", { class: "mpreg-sublabel", x: left, y: middle + 13 });
    const bar = drawn("rect", { class: "mpreg-load", x: x + 8, y: y + height - 5, width: 0, height: 3, rx: 1.5 });
    const title = drawn("title");
    const group = drawn(
      "g",
      { class: "mpreg-node", tabindex: "0", role: "button", "data-key": node.key, onclick: open, onkeydown: pressed(open) },
      title,
      drawn("rect", { class: "mpreg-box", x, y, width, height, rx: 7 }),
      mark,
      drawn("text", { class: "mpreg-label", x: left, y: middle - 3 }, node.label),
      line,
      bar,
    );
    return { group, mark, line, bar, title };
  }

  update() {
    const { scene, state } = this.view;
    state.nodes.forEach((node, i) => {
      const here = this.nodes[i];
      here.group.setAttribute("class", `mpreg-node mpreg-${node.look}`);
      here.mark.setAttribute("d", scene.marks[node.look]);
      here.bar.setAttribute("width", Math.max(0, (scene.nodes[i].width - 16) * node.share));
      write(here.line, node.line);
      write(here.title, node.words);
      here.group.setAttribute("aria-label", node.words);
    });
    const arrows = state.doubts.filter((doubt) => doubt.path);
    this.doubts.replaceChildren(...arrows.map((doubt) => this.arrow(doubt)));
    this.updateLinks();
    this.showOpened();
  }

  arrow(doubt) {
    const end = `url(#${this.heads}-${doubt.look})`;
    return drawn("path", { class: `mpreg-doubt mpreg-${doubt.look}`, d: doubt.path, "marker-end": end }, drawn("title", {}, doubt.words));
  }

  updateLinks() {
    const { scene, links } = this.view;
    const labels = [];
    for (const link of links.links) {
      const line = this.lines.get(`${link.a} ${link.b}`);
      if (!line) continue;
      line.group.setAttribute("class", `mpreg-cluster-link mpreg-link-${link.state}`);
      write(line.title, `${scene.nodes[link.a].name} and ${scene.nodes[link.b].name}: ${link.words}`);
      if (link.label) labels.push(this.label(link));
    }
    this.labels.replaceChildren(...labels);
  }

  label(link) {
    const open = () => this.view.open({ link: [link.a, link.b] });
    const pill = drawn("rect", { x: link.x, y: link.y, width: link.width, height: 17, rx: 8.5 });
    const text = drawn("text", { x: link.x + link.width / 2, y: link.y + 12.5 }, link.label);
    return drawn("g", { class: `mpreg-link-label mpreg-link-${link.state}`, onclick: open }, pill, text);
  }

  showOpened() {
    const { opened } = this.view;
    this.nodes?.forEach((node, i) => node.group.classList.toggle("mpreg-opened", opened?.node === i));
    for (const [key, line] of this.lines ?? []) line.group.classList.toggle("mpreg-opened", opened?.link?.join(" ") === key);
  }

  // As wide as there is room beside the panel, but never larger than life, and never too small to read.
  resize() {
    const { scene } = this.view;
    if (!scene || !this.svg) return;
    const scale = this.scale(this.pane.clientWidth || this.view.width);
    this.svg.style.width = `${(scene.width + 2 * MARGIN) * scale}px`;
    this.svg.style.height = `${(scene.height + 2 * MARGIN) * scale}px`;
  }

  scale(width) {
    return Math.min(1, Math.max(0.62, (width - 2) / (this.view.scene.width + 2 * MARGIN)));
  }

  // Without the panel, which needs some room as well: the page below does not jump when it opens.
  height(width) {
    return Math.min(TALLEST, Math.max(300, Math.ceil((this.view.scene.height + 2 * MARGIN) * this.scale(width)) + 4));
  }
}

// --- the panel: one node, one link, or a node to be added --------------------------------------------------------------

class Panel {
  constructor(view) {
    this.view = view;
    this.title = element("b", { class: "mpreg-panel-title" });
    this.markPath = drawn("path", {});
    this.mark = drawn("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, this.markPath);
    const shut = () => view.shut();
    this.close = element("button", { class: "mpreg-quiet", type: "button", "aria-label": "Close", onclick: shut }, "✕");
    this.body = element("div", { class: "mpreg-panel-body" });
    const head = element("div", { class: "mpreg-panel-head" }, this.mark, this.title, this.close);
    this.element = element("aside", { class: "mpreg-panel", hidden: true }, head, this.body);
  }

  update() {
    const { opened } = this.view;
    this.element.hidden = !opened;
    if (!opened) {
      this.shown = null;
      return;
    }
    this.showHead(opened);
    if (opened.add) {
      // What was typed so far stays.
      if (this.shown !== "add") this.body.replaceChildren(...this.form());
      this.shown = "add";
      return;
    }
    this.redraw(opened.link ? () => this.link(...opened.link) : () => this.node(opened.node));
  }

  // What has the focus, is scrolled or folded open stays so.
  redraw(parts) {
    const what = JSON.stringify(this.view.opened);
    const same = this.shown === what;
    const focused = same && this.body.contains(document.activeElement) ? document.activeElement.dataset.deed : null;
    const open = new Set(same ? [...this.body.querySelectorAll("details[open]")].map((fold) => fold.dataset.fold) : []);
    const { scrollTop } = this.body;
    this.body.replaceChildren(...parts().filter(Boolean));
    for (const fold of this.body.querySelectorAll("details")) fold.open = open.has(fold.dataset.fold);
    this.body.scrollTop = same ? scrollTop : 0;
    if (focused) {
      const again = [...this.body.querySelectorAll("[data-deed]")].find((button) => button.dataset.deed === focused);
      (again ?? this.body.querySelector("[data-deed]") ?? this.close).focus({ preventScroll: true });
    }
    this.shown = what;
  }

  showHead(opened) {
    const { scene, state } = this.view;
    const name = (i) => scene.nodes[i].name;
    const title = opened.add ? "A new node" : opened.link ? opened.link.map(name).join(" and ") : name(opened.node);
    write(this.title, title);
    this.title.title = title;
    const look = opened.node === undefined ? null : state.nodes[opened.node].look;
    this.mark.setAttribute("class", `mpreg-mark${look ? ` mpreg-${look}` : " mpreg-none"}`);
    this.markPath.setAttribute("d", look ? scene.marks[look] : "M3 8H13");
    this.element.setAttribute("aria-label", title);
  }

  deeds(deeds, order) {
    const button = (deed) =>
      element(
        "button",
        {
          class: "mpreg-deed",
          type: "button",
          title: deed.title,
          "data-deed": `${deed.verb} ${order.node} ${order.other ?? ""}`,
          onclick: () => this.view.send({ ...order, verb: deed.verb }),
        },
        deed.label,
      );
    return deeds.length ? element("div", { class: "mpreg-deeds" }, ...deeds.map(button)) : null;
  }

  node(i) {
    const { scene, state, detail } = this.view;
    const [node, about, key] = [state.nodes[i], detail.nodes[i], scene.nodes[i].key];
    const facts = [
      ["State", node.look],
      ["Doubted by", node.doubters],
      ["Thinks", node.doubts],
      ["Steps", node.steps],
      ["Slots", String(about.slots)],
    ].filter(([, value]) => value);
    const list = facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    return [
      this.deeds(node.deeds, { node: key }),
      about.elsewhere ? element("p", { class: "mpreg-muted" }, "Whoever launched it can start and end it; here it is only seen.") : null,
      element("dl", { class: "mpreg-facts" }, ...list),
      this.fold("resource", about.resources),
      this.fold("function", about.functions),
      ...this.links(i),
    ];
  }

  fold(noun, texts) {
    const head = element("summary", {}, `${texts.length} ${noun}${texts.length === 1 ? "" : "s"}`);
    const items = texts.map((text) => element("li", {}, text));
    return element("details", { class: "mpreg-fold", "data-fold": noun }, head, element("ul", {}, ...items));
  }

  links(i) {
    const { scene } = this.view;
    const rows = scene.nodes.flatMap((_, j) => (j === i ? [] : [this.linkRow(i, j)]));
    return rows.length ? [element("div", { class: "mpreg-head" }, element("b", {}, "Links")), ...rows] : [];
  }

  linkRow(i, j) {
    const { scene, links } = this.view;
    const link = this.view.linkOf(i, j);
    const able = (verb) => links.deeds.filter((deed) => deed.verb === verb);
    const deeds = able(["cut", "faulty"].includes(link.state) ? "heal" : "cut");
    const open = () => this.view.open({ link: [Math.min(i, j), Math.max(i, j)] });
    return element(
      "div",
      { class: `mpreg-link-row mpreg-link-${link.state}` },
      element("button", { class: "mpreg-link", type: "button", onclick: open }, scene.nodes[j].name),
      element("span", { class: "mpreg-muted" }, link.words),
      this.deeds(deeds, { node: scene.nodes[i].key, other: scene.nodes[j].key }),
    );
  }

  link(a, b) {
    const { scene, links, state } = this.view;
    const link = this.view.linkOf(a, b);
    const faulty = ["cut", "faulty"].includes(link.state);
    const deeds = links.deeds.filter((deed) => deed.verb !== "heal" || faulty).sort((x, y) => (y.verb === "heal") - (x.verb === "heal"));
    const between = state.doubts.filter((doubt) => [doubt.a, doubt.b].sort().join() === [a, b].sort().join());
    return [
      this.deeds(deeds, { node: scene.nodes[a].key, other: scene.nodes[b].key }),
      element("dl", { class: "mpreg-facts" }, element("dt", {}, "State"), element("dd", {}, link.words)),
      ...between.map((doubt) => element("p", {}, doubt.words)),
      links.deeds.length ? null : element("p", { class: "mpreg-muted" }, "Whoever launched the cluster can cut its links; here they are only seen."),
    ];
  }

  form() {
    const field = (label, hint) => {
      const input = element("input", { class: "mpreg-input", type: "text", placeholder: hint, autocomplete: "off", spellcheck: "false" });
      return [input, element("label", { class: "mpreg-field" }, element("span", {}, label), input)];
    };
    const [name, nameField] = field("Name", "worker-2");
    const [held, heldField] = field("Resources", "gpu, big-memory");
    const send = () => {
      const resources = held.value.split(",").map((text) => text.trim()).filter(Boolean);
      if (name.value.trim()) this.view.send({ verb: "add", node: name.value.trim(), resources });
    };
    const add = element("button", { class: "mpreg-deed", type: "button", onclick: send }, "Add");
    for (const input of [name, held]) input.addEventListener("keydown", (event) => event.key === "Enter" && send());
    this.name = name;
    const note = element("p", { class: "mpreg-muted" }, "It is given the functions that its resources allow.");
    return [element("div", { class: "mpreg-form" }, nameField, heldField, add), note];
  }
}

// --- the whole -------------------------------------------------------------------------------------------------------

class ClusterView {
  constructor(model, parent) {
    this.model = model;
    this.opened = null;
    this.width = 0;
    this.headline = element("span", { class: "mpreg-headline", role: "status" });
    this.title = element("span", { class: "mpreg-cluster-title" });
    this.work = element("span", { class: "mpreg-elapsed" });
    this.heal = element("button", { class: "mpreg-cluster-act", type: "button", hidden: true, onclick: () => this.send({ verb: "heal_all" }) }, "Heal all links");
    this.add = element("button", { class: "mpreg-cluster-act", type: "button", hidden: true, onclick: () => this.open({ add: true }) }, "Add a node");
    this.notice = element("span", { role: "alert" });
    const dismiss = () => ((this.dismissed = this.model.get("notice").number), (this.unheard = false), this.drawNotice());
    const close = element("button", { class: "mpreg-quiet", type: "button", "aria-label": "Dismiss", onclick: dismiss }, "✕");
    this.strip = element("div", { class: "mpreg-notice", hidden: true }, this.notice, close);
    this.picture = new Picture(this);
    this.panel = new Panel(this);
    this.main = element("div", { class: "mpreg-main" }, this.picture.pane, this.panel.element, this.strip);
    const acts = element("span", { class: "mpreg-acts" }, this.heal, this.add);
    const header = element("div", { class: "mpreg-header" }, this.title, this.headline, this.work, acts);
    // Otherwise JupyterLab takes Enter and the arrow keys for itself.
    this.root = element("div", { class: "mpreg-cluster", "data-lm-suppress-shortcuts": "true" }, header, this.main);
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.opened && (event.stopPropagation(), this.shut()));
    parent.append(this.root);
    this.draw = this.draw.bind(this);
    this.soon = () => (this.frame ??= requestAnimationFrame(this.draw));
    model.on("change:scene change:state change:links change:detail change:notice", this.soon);
    this.themes();
    this.sizes = new ResizeObserver(([entry]) => this.resize(entry.contentRect.width));
    this.sizes.observe(this.main);
    this.gone = this.gone.bind(this);
    model.on("comm_live_update", this.gone);
    this.hideStatic();
    this.draw();
  }

  // The kernel was restarted: what is saved is all there is, and this view, whose buttons do nothing any more, leaves.
  gone() {
    if (this.hidden) this.dispose();
  }

  dispose() {
    this.model.off("comm_live_update", this.gone);
    this.model.off("change:scene change:state change:links change:detail change:notice", this.soon);
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.dark.removeEventListener("change", this.theme);
    this.body.disconnect();
    this.outputs?.disconnect();
    this.hidden?.style.removeProperty("display");
    this.root.remove();
  }

  draw() {
    this.frame = null;
    for (const name of ["state", "links", "detail"]) this[name] = this.model.get(name);
    const scene = this.model.get("scene");
    if (!scene.nodes || !this.state.nodes) return;
    if (this.state.nodes.length !== scene.nodes.length || this.detail.nodes.length !== scene.nodes.length) return;
    if (this.scene !== scene) this.build(scene);
    write(this.title, `${this.detail.kind} ${this.detail.title}`);
    write(this.headline, this.state.headline);
    write(this.work, this.state.work);
    this.root.classList.toggle("mpreg-stopped-cluster", !this.state.running);
    if (!this.state.running && this.opened) this.shut();
    this.main.hidden = !this.state.running;
    this.add.hidden = !(this.state.running && this.detail.can_add);
    this.heal.hidden = !(this.state.running && this.links.heal);
    this.drawNotice();
    this.picture.update();
    this.panel.update();
  }

  build(scene) {
    const kept = this.scene && this.keys(this.opened);
    this.scene = scene;
    this.opened = this.opened && this.found(kept);
    this.theme();
    this.picture.build();
    this.settle();
  }

  // What is opened, by names: the nodes may stand at other places now.
  keys(opened) {
    const key = (i) => this.scene.nodes[i].key;
    if (!opened || opened.add) return opened;
    return opened.link ? { link: opened.link.map(key) } : { node: key(opened.node) };
  }

  found(kept) {
    if (!kept || kept.add) return kept;
    const at = (key) => this.scene.nodes.findIndex((node) => node.key === key);
    const places = (kept.link ?? [kept.node]).map(at);
    if (places.includes(-1)) return null;
    return kept.link ? { link: places } : { node: places[0] };
  }

  drawNotice() {
    const notice = this.model.get("notice");
    const text = this.unheard ? UNHEARD : this.dismissed === notice.number ? "" : (notice.text ?? "");
    this.strip.hidden = !text;
    this.strip.classList.toggle("mpreg-notice-failed", Boolean(this.unheard || notice.failed));
    write(this.notice, text);
    // A node that was added is there: its form has done its work.
    if (this.opened?.add && this.ordered === "add" && notice.number > this.before && !notice.busy) {
      this.ordered = null;
      if (!notice.failed) this.shut();
    }
  }

  linkOf(i, j) {
    const [a, b] = [Math.min(i, j), Math.max(i, j)];
    return this.links.links.find((link) => link.a === a && link.b === b) ?? { a, b, state: "connected", words: "connected" };
  }

  open(what) {
    if (!this.opened) this.returnTo = document.activeElement;
    this.opened = what;
    this.panel.update();
    this.picture.resize();
    this.picture.showOpened();
    const first = what.add ? this.panel.name : this.panel.body.querySelector("[data-deed]");
    (first ?? this.panel.close).focus({ preventScroll: true });
  }

  shut() {
    this.opened = null;
    this.panel.update();
    this.picture.resize();
    this.picture.showOpened();
    this.returnTo?.focus?.({ preventScroll: true });
  }

  send(order) {
    this.ordered = order.verb;
    this.before = this.model.get("notice").number ?? 0;
    try {
      this.model.send({ kind: "do", ...order });
    } catch {
      this.unheard = true;
      this.drawNotice();
    }
  }

  resize(width) {
    if (!width || width === this.width) return;
    this.width = width;
    this.settle();
  }

  settle() {
    if (this.scene && this.width) this.main.style.height = `${this.picture.height(this.width)}px`;
    this.picture.resize();
  }

  themes() {
    this.theme = this.theme.bind(this);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.theme);
    this.body = new MutationObserver(this.theme);
    this.body.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  }

  theme() {
    if (this.scene) paint(this.root, this.scene.palette, this.dark.matches);
  }

  // A cell shows this view and, in an output of its own, the picture for saved notebooks: one of them is enough.
  hideStatic() {
    const mine = this.root.closest(".jp-OutputArea-child");
    const area = mine?.parentElement;
    if (!area) return void (this.waiting ??= requestAnimationFrame(() => ((this.waiting = null), this.root.isConnected && this.hideStatic())));
    const find = () => {
      for (let next = mine.nextElementSibling; next; next = next.nextElementSibling) {
        if (next.querySelector(".mpreg-run, .mpreg-cluster")) return;
        if (!next.querySelector(".mpreg-cluster-static")) continue;
        if (this.hidden !== next) this.hidden?.style.removeProperty("display");
        this.hidden = next;
        if (next.style.display !== "none") next.style.setProperty("display", "none", "important");
        return;
      }
    };
    this.outputs = new MutationObserver(find);
    this.outputs.observe(area, { childList: true, subtree: true });
    find();
  }
}

function render({ model, el }) {
  const view = new ClusterView(model, el);
  return () => view.dispose();
}

export default { render };
