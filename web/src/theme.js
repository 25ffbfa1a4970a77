// Theme: light or dark, as the system says until the reader says otherwise.
import { forgetColours } from "./ui.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;

export const themeNow = () => chosen ?? (dark.matches ? "dark" : "light");

function apply(changed) {
  document.documentElement.dataset.theme = themeNow();
  forgetColours();
  changed();
}

/** Follow the system; `changed` is called after each change. */
export function followTheme(changed) {
  dark.addEventListener("change", () => apply(changed));
  apply(changed);
}

/** Switch to the other one. A file has no place to keep the choice, and a page needs none. */
export function switchTheme(changed) {
  chosen = themeNow() === "dark" ? "light" : "dark";
  apply(changed);
}
