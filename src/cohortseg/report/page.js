"use strict";
document.documentElement.classList.add("js");
// The slices of a plane lie below each other in one picture; a slider moves it.
for (const slider of document.querySelectorAll(".plane input")) {
  const numbers = slider.dataset.numbers.split(",");
  const place = slider.parentElement.querySelector("output");
  slider.addEventListener("input", () => {
    const words = `${numbers[slider.value]} of ${slider.dataset.total}`;
    slider.closest(".plane").style.setProperty("--s", slider.value);
    slider.setAttribute("aria-valuetext", `slice ${words}`);
    place.textContent = words;
  });
}
for (const box of document.querySelectorAll("[data-shows]")) {
  const show = () => box.closest("section").classList.toggle(`bare-${box.dataset.shows}`, !box.checked);
  box.addEventListener("change", show);
  show(); // a browser may remember what was chosen before
}
// Tables work without this; with it, a click on a heading sorts.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const isDown = heading.getAttribute("aria-sort") === "ascending";
      const isNumber = heading.hasAttribute("data-number");
      const sign = isDown ? -1 : 1;
      const key = (row) => row.cells[column].getAttribute("data-key") || "";
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (isNumber ? a - b : a.localeCompare(b, "en"));
      });
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      body.append(...rows);
    });
  });
}
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    const said = button.parentElement.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(source.innerText);
      said.textContent = "Copied.";
    } catch {
      // Where the browser forbids it, the text is at least selected.
      getSelection().selectAllChildren(source);
      said.textContent = "Selected: press Ctrl+C.";
    }
  });
}
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
});
