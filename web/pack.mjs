// Packs dist/ into one file for the program: an index of lines, an empty line, then each file compressed.
// src/dashboard/assets.cpp reads it.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";

const types = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  json: "application/json",
  txt: "text/plain; charset=utf-8",
};
// What the bundles are made of, with the licences that ask to go with it.
const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const licences = Object.entries(lock.packages)
  .filter(([path, p]) => path && !p.dev && !p.optional)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([path, p]) => {
    const file = readdirSync(path).find((n) => /^licen[cs]e(\.|$)/i.test(n));
    if (!file) throw new Error(`${path}: it has no licence file`);
    return `${path.replace("node_modules/", "")} ${p.version}\n\n${readFileSync(join(path, file), "utf8").trim()}\n`;
  });
writeFileSync("dist/assets/licences.txt", `The pages of Millrace's dashboard have these in them:\n\n${licences.join("\n----\n\n")}`);

const walk = (dir) =>
  readdirSync(dir).flatMap((n) => (statSync(join(dir, n)).isDirectory() ? walk(join(dir, n)) : [join(dir, n)]));

const lines = [];
const bodies = [];
let total = 0;
for (const file of walk("dist").sort()) {
  const name = relative("dist", file);
  const type = types[name.split(".").pop()];
  if (!type) throw new Error(`${name}: no content type is known for it`);
  const plain = readFileSync(file);
  const packed = gzipSync(plain, { level: 9 });
  const etag = `"${createHash("sha256").update(plain).digest("hex").slice(0, 32)}"`;
  lines.push([name, type, etag, plain.length, packed.length].join("\t") + "\n");
  bodies.push(packed);
  total += packed.length;
}
writeFileSync("pages.pack", Buffer.concat([Buffer.from(`millrace-web 1\n${lines.join("")}\n`), ...bodies]));
console.log(`${lines.length} files, ${(total / 1024).toFixed(1)} KiB compressed`);
