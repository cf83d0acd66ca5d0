// What an accessibility checker would find, as a list of sentences: names, roles, headings, labels, contrast, width.
() => {
  const faults = [];
  const shown = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const text = (node) => (node?.textContent ?? "").trim();
  const referred = (node, attribute) =>
    (node.getAttribute(attribute) ?? "").split(/\s+/u).filter(Boolean).map((id) => document.getElementById(id));
  const nameOf = (node) => {
    const labels = referred(node, "aria-labelledby");
    if (labels.length) return labels.map(text).join(" ").trim();
    if (node.getAttribute("aria-label")) return node.getAttribute("aria-label").trim();
    if (node.labels?.length) return [...node.labels].map(text).join(" ");
    return ["INPUT", "TEXTAREA", "SELECT", "CANVAS"].includes(node.tagName) ? "" : text(node);
  };
  const what = (node) => `${node.tagName.toLowerCase()}${node.id && `#${node.id}`} “${text(node).slice(0, 40)}”`;

  for (const node of all("a[href], button, input, textarea, select, summary, canvas[tabindex], [role]:not([role=status]):not([role=alert])")) {
    if (!nameOf(node)) faults.push(`${what(node)} has no name`);
  }
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "aria-activedescendant"]) {
    for (const node of all(`[${attribute}]`)) if (referred(node, attribute).includes(null)) faults.push(`${what(node)}: ${attribute} names nothing`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`id ${id} stands twice`);
  for (const landmark of ["header", "main", "nav", "footer"]) if (!all(landmark).length) faults.push(`no ${landmark}`);
  if (all("main").length !== 1 || all("h1").length !== 1) faults.push("not one main and one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) faults.push(`${what(heading)} leaves out a level`);
    level = own;
  }
  for (const node of all("[tabindex]")) if (node.tabIndex > 0) faults.push(`${what(node)} has a tab order of its own`);
  for (const list of all("ul, ol")) {
    const strange = [...list.children].find((child) => child.tagName !== "LI");
    if (strange) faults.push(`${what(list)} holds ${what(strange)}`);
  }
  for (const list of all("[role=listbox]")) if ([...list.children].some((child) => child.getAttribute("role") !== "option")) faults.push("a listbox holds no option");
  if (!document.documentElement.lang || !document.title) faults.push("no language or no title");

  const numbers = (colour) => colour.match(/[\d.]+/gu).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const paperOf = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const parts = numbers(getComputedStyle(at).backgroundColor);
      if (parts.length < 4 || parts[3] === 1) return parts;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!text(walker.currentNode) || seen.has(node) || !shown(node) || node.closest(":disabled, .unseen, option")) continue;
    seen.add(node);
    const style = getComputedStyle(node);
    const [one, other] = [light(numbers(style.color)), light(paperOf(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = Number.parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) faults.push(`${what(node)} has a contrast of ${contrast.toFixed(2)}`);
  }
  for (const node of all("input, textarea, select, button")) {
    const box = node.getBoundingClientRect();
    if (box.height < 24 || box.width < 24) faults.push(`${what(node)} is ${Math.round(box.width)} by ${Math.round(box.height)} pixels`);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page scrolls sideways: ${document.documentElement.scrollWidth} pixels`);
  return faults;
}
