"use strict";
// Tables are sorted by a click on a head: numbers by their size, what has none last.
function key(cell) {
  const text = cell ? cell.textContent.trim() : "";
  // An interval by its lower end.
  const start = text.replace(/^\[/, "").replace("\u2212", "-");
  const number = parseFloat(start);
  return /^[-+]?[\d.]/.test(start) && !Number.isNaN(number) ? number : text;
}
function order(a, b) {
  const numbers = [a, b].map((one) => typeof one === "number");
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return numbers[0] ? a - b : a.localeCompare(b);
}
function sort(head) {
  const body = head.closest("table").tBodies[0];
  const place = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = Array.from(body.rows, (row) => [key(row.cells[place]), row]);
  const known = (one) => typeof one[0] === "number" || !["", "\u2013"].includes(one[0]);
  const sorted = rows.filter(known).sort((a, b) => order(a[0], b[0]) * (down ? -1 : 1));
  for (const [, row] of [...sorted, ...rows.filter((one) => !known(one))]) body.append(row);
}
function pressed(element, action) {
  element.tabIndex = 0;
  element.addEventListener("click", action);
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      action();
    }
  });
}
for (const head of document.querySelectorAll(".wide th")) {
  head.classList.add("sorts");
  pressed(head, () => sort(head));
}
// A click enlarges a picture.
const dialog = document.createElement("dialog");
const large = document.createElement("img");
dialog.append(large);
dialog.addEventListener("click", () => dialog.close());
document.body.append(dialog);
for (const image of document.querySelectorAll("figure img")) {
  image.classList.add("enlarges");
  pressed(image, () => {
    large.src = image.src;
    large.alt = image.alt;
    dialog.showModal();
  });
}
// Captions and commands are copied; where a page from a disk has no clipboard, by way of a selection.
function copy(text) {
  const byHand = () => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).catch(byHand);
  else byHand();
}
function copies(element, name, text) {
  const button = document.createElement("button");
  button.textContent = name;
  button.type = "button";
  button.addEventListener("click", () => {
    copy(text);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = name), 1500);
  });
  element.append(" ", button);
}
for (const caption of document.querySelectorAll(".caption")) {
  copies(caption.parentNode, "copy caption", caption.textContent);
}
for (const block of document.querySelectorAll("pre")) copies(block, "copy", block.textContent);
