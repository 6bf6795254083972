// Show the elements that match the chosen filters, and hide all others. Without this script the page stays in its first
// state: it shows means over the pairs, and no single pairs.
"use strict";

/** Start the filters of a page. Returns a function that ends them, for a page whose content is replaced. */
function startFilters(main) {
  const FILTERS = ["model", "task", "score", "pair"];
  const ended = new AbortController();
  const bar = main.querySelector("#filters");
  if (bar === null) return () => {};  // the page of an empty store
  const boxes = [...bar.querySelectorAll("input")];
  const sections = [...main.querySelectorAll("section")];
  const marked = new Map(sections.map((section) => [section, [...section.querySelectorAll("*")].filter(isMarked)]));

  function isMarked(element) {
    return FILTERS.some((name) => name in element.dataset) || "mean" in element.dataset;
  }

  function chosenValues() {
    return new Map(FILTERS.map((name) => [name, boxes.filter((box) => box.name === name && box.checked).map((box) => box.value)]));
  }

  function fits(element, chosen) {
    const pairs = chosen.get("pair");
    if ("mean" in element.dataset && pairs.length > 0) return false;
    if ("detail" in element.dataset && pairs.length === 0) return false;
    return FILTERS.every((name) => {
      const values = chosen.get(name);
      return values.length === 0 || !(name in element.dataset) || element.dataset[name].split("\n").some((value) => values.includes(value));
    });
  }

  function hide(element, isHidden) {
    element.toggleAttribute("data-off", isHidden);
  }

  const isShown = (element) => element.closest("[data-off]") === null;

  /** Hide a heat map without visible rows. */
  function tidyRows(panel) {
    if (!isMarked(panel)) hide(panel, false);
    const rows = [...panel.querySelectorAll("tbody > tr")];
    if (rows.length > 0 && isShown(panel) && !rows.some(isShown)) hide(panel, true);
  }

  /** Hide legend entries without visible marks and figures without visible panels; show a note in the section if filters do not apply to it or nothing matches. */
  function tidy(section, elements, chosen) {
    for (const figure of section.querySelectorAll("figure")) {
      if (!isMarked(figure)) hide(figure, false);
      const panels = [...figure.querySelectorAll(".panel")];
      panels.forEach(tidyRows);
      if (isShown(figure) && !panels.some(isShown)) hide(figure, true);
      const visible = new Set([...figure.querySelectorAll("g[data-key]:not([data-off])")].map((mark) => mark.dataset.key));
      for (const entry of figure.querySelectorAll("li[data-key]")) hide(entry, !visible.has(entry.dataset.key));
    }
    const unused = FILTERS.filter(
      (name) => chosen.get(name).length > 0 && elements.length > 0 && !elements.some((element) => name in element.dataset),
    );
    const things = [...section.querySelectorAll("figure, tbody > tr, .finding")].filter((element) => !element.closest(".origin, .examples"));
    const note = section.querySelector(".note");
    if (note === null) return;
    if (things.length > 0 && !things.some(isShown)) note.textContent = "Nothing matches the filters.";
    else if (unused.length > 0) note.textContent = `Not filtered by ${unused.join(" or ")}.`;
    else note.textContent = "";
  }

  function filter() {
    const chosen = chosenValues();
    for (const [section, elements] of marked) {
      for (const element of elements) hide(element, !fits(element, chosen));
      tidy(section, elements, chosen);
    }
    for (const facet of bar.querySelectorAll("details")) {
      const values = chosen.get(facet.dataset.filter);
      facet.querySelector("b").textContent = values.length > 0 ? values.join(", ") : "all";
    }
    bar.querySelector("button").disabled = boxes.every((box) => !box.checked);
  }

  /** Update what is on the screen first. The layout of everything else takes longest on a large page and follows afterwards. */
  function filterAtOnce() {
    document.body.classList.add("busy");
    filter();
    requestAnimationFrame(() => setTimeout(() => document.body.classList.remove("busy")));
  }

  /** Open the folded parts around the target of a link, which a browser does not do for a part that holds its target. */
  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target === null || !main.contains(target)) return;
    const inside = target.matches("section, .finding") ? target.querySelector("details.fold") : null;
    if (inside !== null && target.querySelectorAll("details.fold").length === 1) inside.open = true;
    for (let part = target; part !== null; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }

  const folds = [...main.querySelectorAll("details.fold")];
  const unfold = bar.querySelector(".unfold");

  function nameUnfold() {
    unfold.textContent = folds.every((part) => part.open) ? "Close all parts" : "Open all parts";
  }

  function on(target, kind, listener) {
    target.addEventListener(kind, listener, { signal: ended.signal });
  }

  on(bar, "change", filterAtOnce);
  on(bar.querySelector("button"), "click", () => {
    for (const box of boxes) box.checked = false;
    filterAtOnce();
  });
  on(unfold, "click", () => {
    const isOpen = !folds.every((part) => part.open);
    for (const part of folds) part.open = isOpen;
    nameUnfold();
  });
  on(window, "hashchange", openTarget);
  on(main, "click", (event) => {
    if (event.target.closest("a")?.getAttribute("href") === location.hash && location.hash !== "") openTarget();
  });
  on(document, "click", (event) => {
    for (const facet of bar.querySelectorAll("details[open]")) if (!facet.contains(event.target)) facet.open = false;
  });
  on(document, "keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const facet of bar.querySelectorAll("details[open]")) {
      if (facet.contains(document.activeElement)) facet.querySelector("summary").focus();
      facet.open = false;
    }
  });
  on(bar, "focusout", (event) => {
    const facet = event.target.closest("details");
    if (facet !== null && event.relatedTarget !== null && !facet.contains(event.relatedTarget)) facet.open = false;
  });
  for (const box of boxes) box.checked = false;
  bar.hidden = false;
  nameUnfold();
  if (location.hash !== "") openTarget();
  return () => ended.abort();
}

// only a script inside of the page starts by itself
if (document.currentScript !== null && !document.currentScript.src) startFilters(document.querySelector("main"));
