// Files: what code wrote, and pictures. Only pictures that browsers draw without scripts are drawn.
import { html } from "./ui.js";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { bytes } from "./say.js";

const DRAWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

/** A list of {name, digest, size, type}, of a list or of a mapping by name. */
function listOf(files) {
  if (!files) return [];
  if (Array.isArray(files)) return files;
  return Object.entries(files).map(([name, file]) => ({ name, ...file, isGone: file === null }));
}

export function Files({ files }) {
  const list = listOf(files);
  if (!list.length) return null;
  return html`<h3>Files</h3><table class="facts-table"><tbody>${list.map((file) => html`
    <tr><th scope="row">${plain(file.name ?? "")}</th>
      <td>${file.isGone ? "removed" : bytes(file.size ?? 0)}</td>
      <td>${plain(file.type ?? "")}</td><td><${Save} file=${file} /></td></tr>`)}</tbody></table>`;
}

function Save({ file }) {
  const address = store.live?.blobAddress(file.digest);
  if (!file.digest || !address) return null;
  return html`<a href=${address} download=${file.name ?? "file"}>Save</a>`;
}

export function Pictures({ files }) {
  const drawn = listOf(files).filter((file) => DRAWN.has(file.type) && file.digest);
  if (!drawn.length) return null;
  return html`<div class="pictures">${drawn.map((file) => html`<${Picture} file=${file} />`)}</div>`;
}

function Picture({ file }) {
  const address = addressOf(file);
  if (!address) return html`<p class="hint">The picture ${plain(file.name ?? "")} is not in this
    file.</p>`;
  return html`<figure><img src=${address} alt=${`Picture ${file.name ?? ""}`} loading="lazy" />
    <figcaption>${plain(file.name ?? "")}</figcaption></figure>`;
}

/** Where a picture's bytes are: on the server, or in the page. */
function addressOf(file) {
  const here = Object.hasOwn(store.pictures, file.digest) && store.pictures[file.digest];
  if (here && DRAWN.has(here.type)) return `data:${here.type};base64,${here.base64}`;
  return store.live?.blobAddress(file.digest) ?? null;
}
