// What the scripts of all widgets begin with: a page's elements, made from plain values. Text of users becomes textContent,
// never markup.

const SVG = "http://www.w3.org/2000/svg";

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

// Light or dark as the page is: JupyterLab and VS Code say so, elsewhere the system does.
function paint(root, palette, systemIsDark) {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  const dark = jpThemeLight ? jpThemeLight === "false" : vscodeThemeKind ? vscodeThemeKind.includes("dark") : systemIsDark;
  root.dataset.theme = dark ? "dark" : "light";
  for (const [look, shades] of Object.entries(palette)) {
    const shade = shades[dark ? "dark" : "light"];
    for (const part of ["fill", "stroke", "text"]) root.style.setProperty(`--mpreg-${look}-${part}`, shade[part]);
  }
}
