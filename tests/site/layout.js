// What a reader can't read at this width: the page is wider than the window, a text is cut, two texts overlap.
() => {
  const found = [];
  const name = (element) => `${element.tagName.toLowerCase()}.${element.className} "${element.textContent.trim().slice(0, 40)}"`;
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} wide`);

  const drawn = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !element.closest(".visually-hidden, .skip-to-content, .sidebar-drawer.away, .toc-drawer.away, noscript");
  for (const drawer of document.querySelectorAll(".sidebar-drawer, .toc-drawer")) {
    const { left, right } = drawer.getBoundingClientRect();
    drawer.classList.toggle("away", right <= 0 || left >= innerWidth);
  }

  // What may be scrolled sideways: code, tables, outputs, and the two lists beside the page.
  const SCROLLERS = "pre, .table-wrapper, .cell_output .output, .sidebar-scroll, .toc-scroll";
  const frameOf = (element) => {
    while (element && getComputedStyle(element).overflowX === "visible") element = element.parentElement;
    return element === document.documentElement || element === document.body ? null : element;
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (element.matches(SCROLLERS) || getComputedStyle(element).overflowX === "visible" || !drawn(element)) continue;
    if (element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1) found.push(`too wide for its frame: ${name(element)}`);
  }

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent || /^(SCRIPT|STYLE|TITLE|OPTION)$/.test(parent.tagName)) continue;
    if (!drawn(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    let block = parent;
    while (getComputedStyle(block).display === "inline") block = block.parentElement;
    block = parent.closest("pre") ?? block;
    const frame = frameOf(parent);
    for (const box of range.getClientRects()) {
      if (box.width < 1 || box.height < 1) continue;
      if (!frame?.matches(SCROLLERS)) {
        const { left, right } = frame ? frame.getBoundingClientRect() : { left: 0, right: innerWidth };
        if (box.left < left - 1 || box.right > right + 1) found.push(`cut: ${name(parent)}`);
      }
      // A line's box is taller than its letters.
      const rim = box.height / 4;
      texts.push({ block, parent, left: box.left + 1, right: box.right - 1, top: box.top + rim, bottom: box.bottom - rim });
    }
  }

  const inFlow = (element) => !element.closest(".mobile-header, .sidebar-drawer, .toc-drawer, .back-to-top");
  texts.sort((a, b) => a.top - b.top);
  for (let i = 0; i < texts.length; i++) {
    for (let j = i + 1; j < texts.length && texts[j].top < texts[i].bottom; j++) {
      const [a, b] = [texts[i], texts[j]];
      if (a.block === b.block || inFlow(a.parent) !== inFlow(b.parent)) continue;
      if (a.left < b.right && b.left < a.right) {
        // What a box hides by scrolling is not on the screen.
        const seen = (text) => {
          const frame = text.parent.closest(SCROLLERS);
          if (!frame) return true;
          const box = frame.getBoundingClientRect();
          return text.left < box.right && text.right > box.left && text.top < box.bottom && text.bottom > box.top;
        };
        if (seen(a) && seen(b)) found.push(`overlap: ${name(a.parent)} and ${name(b.parent)}`);
      }
    }
  }
  return [...new Set(found)];
}
