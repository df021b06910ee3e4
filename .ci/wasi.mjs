// Runs a program for WASI preview 1 on the standard streams that this script has: node .ci/wasi.mjs PROGRAM ARGUMENT...
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [program] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: process.argv.slice(2) });
const instance = await WebAssembly.instantiate(await WebAssembly.compile(await readFile(program)), wasi.getImportObject());
process.exitCode = wasi.start(instance);
