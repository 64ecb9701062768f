/* The tables of the pages of results: a box that filters rows, and headings that sort. Without it they are complete. */
(() => {
  "use strict";
  const tables = [...document.querySelectorAll("article table.docutils")];
  const page = document.querySelector("article section");
  if (!page || !tables.length) return;

  /* What a cell is sorted by: a time in seconds, a number, or null where there is none. */
  function number(text) {
    const time = /^(?:(\d+) h )?(\d+) min(?: (\d+) s)?/.exec(text);
    if (time) return 3600 * (time[1] || 0) + 60 * time[2] + Number(time[3] || 0);
    const found = /^-?[\d,]+(\.\d+)?/.exec(text);
    return found ? Number(found[0].replaceAll(",", "")) : null;
  }

  function compare(one, other, numeric, sign) {
    if (!numeric) return sign * one.localeCompare(other, "en", { numeric: true });
    const [a, b] = [number(one), number(other)];
    if (a === null || b === null) return (a === null) - (b === null); /* none is last in both directions */
    return sign * (a - b);
  }

  function sortable(table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort: ascending, descending, as written";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort")];
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        const state = next === undefined ? "ascending" : next;
        const text = (row) => row.cells[column].textContent.trim();
        const numeric = heading.classList.contains("text-right");
        const sign = state === "descending" ? -1 : 1;
        if (state) heading.setAttribute("aria-sort", state);
        const sorted = state ? [...rows].sort((a, b) => compare(text(a), text(b), numeric, sign)) : rows;
        body.append(...sorted);
      });
    });
  }

  /* A row stays if it has every word, where the title of its section counts as part of it. */
  function filter(words) {
    let shown = 0;
    let all = 0;
    for (const table of tables) {
      const title = table.closest("section").querySelector("h1, h2, h3").textContent;
      for (const row of table.tBodies[0].rows) {
        const text = `${title} ${row.textContent}`.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
        all += 1;
      }
      table.hidden = [...table.tBodies[0].rows].every((row) => row.hidden);
    }
    return words.length ? `${shown} of ${all} rows` : `${all} rows`;
  }

  const box = document.createElement("form");
  box.className = "results-filter";
  box.setAttribute("role", "search");
  box.innerHTML = '<label>Rows with <input type="search" placeholder="mnist ff" autocomplete="off"></label> <output></output>';
  box.addEventListener("submit", (event) => event.preventDefault());
  const update = () => {
    const words = box.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    box.querySelector("output").textContent = filter(words);
  };
  box.addEventListener("input", update);

  let first = tables[0];
  while (first.parentElement !== page) first = first.parentElement;
  page.insertBefore(box, first);
  tables.forEach(sortable);
  update();
})();
