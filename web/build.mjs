// Build: one script, one style sheet, and the licences of what they are made of.
//
// The same sources and lock file give the same bytes: tests/test_page.py builds again and compares.
import { readFile, writeFile, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "../langgraph_rlm/trace/page");

const result = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.js" },
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  metafile: true,
  outdir: out,
  write: false,
});

/** What could end the script element that the page puts this into, or the style element. */
const ENDS_ELEMENT = /<\/(script|style)|<!--|<script/i;

/** A regular expression of Prism has the start of a comment: it is written so that none starts. */
const written = (text) => text.replaceAll("<!--", "<\\!--");

/** The name of the package that a bundled file is of, or null for a source of ours. */
function packageOf(path) {
  const match = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  return match && match[1];
}

/** The licence of one package, with its name, version and kind above it. */
async function licenceOf(name) {
  const folder = join(here, "node_modules", name);
  const about = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const text = await readFile(join(folder, "LICENSE"), "utf8");
  return `${name} ${about.version} (${about.license})\n\n${text.trim()}\n`;
}

await mkdir(out, { recursive: true });
for (const file of result.outputFiles) {
  const text = written(file.text);
  if (ENDS_ELEMENT.test(text)) throw new Error(`${file.path} could end its element in the page.`);
  await writeFile(file.path, text);
}
const used = Object.keys(result.metafile.inputs).map(packageOf).filter(Boolean);
const licences = await Promise.all([...new Set(used)].sort().map(licenceOf));
const line = `\n${"-".repeat(78)}\n\n`;
await writeFile(join(out, "LICENSES.txt"), licences.join(line));
