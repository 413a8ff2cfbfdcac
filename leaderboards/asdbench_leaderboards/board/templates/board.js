"use strict";
// Filters and sorts the table of a board; the address keeps both, so that a link shows the same rows.
(() => {
  const keepers = [...document.querySelectorAll("a.keeps")];
  const plain = new Map(keepers.map((link) => [link, link.getAttribute("href")]));
  const carry = (hash) => {
    for (const link of keepers) link.setAttribute("href", plain.get(link) + hash);
  };
  const form = document.getElementById("filters");
  if (!form) {
    if (location.hash !== "#main") carry(location.hash);
    return;
  }

  const FIRST = 100; // rows that are laid out before somebody asks for all of them
  const table = document.getElementById("board");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const fields = [...form.elements].filter((field) => field.name);
  const rows = [...body.rows].map((row) => ({ row, data: row.dataset, text: row.querySelector("th").textContent.toLowerCase() }));
  const sheet = document.head.appendChild(document.createElement("style")).sheet;
  let order = rows;
  let sorted = { column: 0, descending: false };
  let every = false;

  const read = (field) => (field.type === "checkbox" ? (field.checked ? "1" : "") : field.value);
  const chosen = () => Object.fromEntries(fields.map((field) => [field.name, read(field)]));
  const matches = (each, wanted) =>
    (!wanted.method || each.text.includes(wanted.method.toLowerCase())) &&
    ["family", "selection", "verified", "source"].every((name) => !wanted[name] || each.data[name] === wanted[name]) &&
    (!wanted.complete || each.data.complete === "1");

  const columns = (wanted) => {
    while (sheet.cssRules.length) sheet.deleteRule(0);
    sheet.insertRule(`.g:not(.m${Number(wanted.measure || 0)}) { display: none }`);
    if (wanted.group) sheet.insertRule(`.g:not(.g${Number(wanted.group)}) { display: none }`);
    table.classList.toggle("details", Boolean(wanted.details));
  };

  const show = () => {
    const wanted = chosen();
    columns(wanted);
    let found = 0;
    for (const each of order) {
      const visible = matches(each, wanted) && (++found <= FIRST || every);
      if (each.row.hidden === visible) each.row.hidden = !visible;
    }
    more.hidden = every || found <= FIRST;
    count.textContent = `${found} of ${rows.length} methods` + (more.hidden ? "" : `, the first ${FIRST} are shown`);
    remember(wanted);
  };

  const remember = (wanted) => {
    const state = new URLSearchParams();
    for (const field of fields) {
      const value = wanted[field.name];
      if (value && !(field.name === "measure" && value === "0")) state.set(field.name, value);
    }
    if (sorted.column || sorted.descending) state.set("sort", (sorted.descending ? "-" : "") + sorted.column);
    const hash = state.size ? `#${state}` : "";
    // Not location.hash: every letter typed would become a step of the history.
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname + location.search);
    carry(hash);
  };

  const arrange = () => {
    const { column, descending } = sorted;
    const numeric = "numeric" in heads[column].firstElementChild.dataset;
    const key = ({ row }) => {
      const cell = row.cells[column];
      return numeric ? (cell.dataset.v === undefined ? null : Number(cell.dataset.v)) : cell.textContent.trim();
    };
    const keyed = rows.map((each) => [key(each), each]);
    const sign = descending ? -1 : 1;
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // rows without a value are last either way
      return sign * (numeric ? a - b : a < b ? -1 : a > b ? 1 : 0);
    });
    order = keyed.map(([, each]) => each);
    body.append(...order.map(({ row }) => row));
    heads.forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };

  const restore = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) {
      const value = state.get(field.name) || "";
      if (field.type === "checkbox") field.checked = value === "1";
      else field.value = value || (field.name === "measure" ? "0" : "");
      if (field.selectedIndex === -1) field.selectedIndex = 0; // an option that this board lacks
    }
    const [, minus, column] = /^(-?)(\d+)$/.exec(state.get("sort") || "") || [];
    const known = column !== undefined && Number(column) < heads.length;
    sorted = { column: known ? Number(column) : 0, descending: known && minus === "-" };
    arrange();
    show();
  };

  heads.forEach((head, column) =>
    head.firstElementChild.addEventListener("click", () => {
      const again = sorted.column === column;
      // The first click on a number shows the largest first, except on the place.
      const first = column > 0 && "numeric" in head.firstElementChild.dataset;
      sorted = { column, descending: again ? !sorted.descending : first };
      arrange();
      show();
    }),
  );
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    every = false;
    sorted = { column: 0, descending: false };
    arrange();
    setTimeout(show); // the fields are cleared after this event
  });
  more.addEventListener("click", () => {
    every = true;
    show();
  });
  window.addEventListener("hashchange", () => location.hash !== "#main" && restore());
  restore();
})();
