// Everything about a page's accessibility that can be told without a person; sentences on what is wrong.
() => {
  const wrongs = [];
  const say = (what, node) => wrongs.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
  const shown = (node) => node.checkVisibility();
  for (const image of document.querySelectorAll("img")) if (!image.alt.trim()) say("image without alt", image);
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!field.labels.length) say("field without label", field);
  for (const link of document.querySelectorAll("a, button, summary"))
    if (!link.textContent.trim() && !link.getAttribute("aria-label") && !link.querySelector("img[alt]"))
      say("nothing to read", link);
  for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby]"))
    for (const id of `${node.getAttribute("aria-labelledby") || ""} ${node.getAttribute("aria-describedby") || ""}`.split(/\s+/))
      if (id && !document.getElementById(id)) say(`nothing has the id ${id}`, node);
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) wrongs.push(`twice the id ${id}`);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.nodeName[1]);
    if (next > level + 1) say(`level ${next} after ${level}`, heading);
    level = next;
  }
  if (document.querySelectorAll("h1").length !== 1) wrongs.push("not exactly one h1");
  for (const name of ["header", "main", "nav", "footer"]) if (!document.querySelector(name)) wrongs.push(`no ${name}`);
  if (!document.documentElement.lang) wrongs.push("no language");
  for (const picture of document.querySelectorAll("svg"))
    if (picture.getAttribute("aria-hidden") !== "true" && picture.getAttribute("role") !== "img") say("svg", picture);
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption) say("table without caption", table);
    if (!table.closest(".scroll")) say("table that cannot scroll", table);
  }
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  // names of boxes stand on a photograph, with an edge of their own around them
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(node) || node.closest(".hidden, noscript, script, progress, option, .box-name")) continue;
    const inside = node.closest("svg") ? getComputedStyle(node).fill : getComputedStyle(node).color;
    const [one, other] = [luminance(parse(inside)), luminance(ground(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) say(`contrast ${contrast.toFixed(2)}`, node);
  }
  return wrongs;
}
