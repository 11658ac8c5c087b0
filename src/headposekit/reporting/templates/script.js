const root = document.documentElement;
const stored = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
if (stored) root.dataset.theme = stored;
document.addEventListener("click", (event) => {
  const button = event.target.closest("#theme");
  if (button) {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page opened from a file may not be allowed to */ }
  }
  const head = event.target.closest("table.sortable thead tr:last-child th");
  if (head) sort(head);
});
document.addEventListener("keydown", (event) => {
  if (!["Enter", " "].includes(event.key) || !event.target.matches("table.sortable thead tr:last-child th")) return;
  event.preventDefault();
  sort(event.target);
});

// On paper nothing can be opened: examples and lists are printed, configurations are not.
const opened = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open]):not(:has(pre))")) { part.open = true; opened.push(part); }
  for (const picture of document.images) picture.loading = "eager";
});
addEventListener("afterprint", () => { for (const part of opened.splice(0)) part.open = false; });

// Numbers by value, words by letter; what is not there comes last in either direction. Published rows stay below the measured.
function sort(head) {
  const table = head.closest("table"), column = Number(head.dataset.column), sign = head.ariaSort === "ascending" ? -1 : 1;
  const value = (row) => {
    const cell = row.cells[column];
    if (!head.classList.contains("number")) return (cell.querySelector("a, .name") ?? cell).textContent.trim();
    const number = cell.firstChild?.textContent.match(/[-+]?\d[\d,]*(\.\d+)?/);  // what stands after ± or in brackets is no value
    return number ? Number(number[0].replaceAll(",", "")) : null;
  };
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => [value(row), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || sign * (typeof a === "string" ? a.localeCompare(b) : a - b));
    body.append(...rows.map(([, row]) => row));
  }
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.ariaSort = sign === 1 ? "ascending" : "descending";
}
