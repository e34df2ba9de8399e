// What is wider than its frame can be reached and scrolled by keyboard.
function focusable() {
  for (const box of document.querySelectorAll("article pre, article .table-wrapper, article .output.text_html, .sidebar-scroll, .toc-scroll")) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", focusable);
addEventListener("resize", focusable);

// Opened as a file, a page may not read the others, which the search would take its excerpts from.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
