// Runs security scanners on the golden templates and compares what they find
// with docs/security.md: what is not explained there fails, and so does an
// explanation of nothing.
//
// usage: node run.mjs <node_modules> [<findings of another scanner>.json]

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { compare, explanations } from './explained.mjs';
import { guard } from './guard.mjs';
import { nag } from './nag.mjs';
import { deployed, read } from './templates.mjs';

// The section on findings that go away once parameters have values.
const byParameters = 'What scanners take for missing';

const [modules, others] = process.argv.slice(2).map((path) => resolve(path));
const project = fileURLToPath(new URL('../..', import.meta.url));
const scan = (templates) => [...guard(templates, modules), ...nag(templates, modules)];
const templates = read(join(project, 'templates/testdata'));
const key = (f) => JSON.stringify(f);

const complete = scan(templates.map(deployed));
const real = new Set(complete.map(key));
const apparent = scan(templates).filter((f) => !real.has(key(f)));
const scanners = ['guard', 'nag'];
if (others) {
  const found = JSON.parse(readFileSync(others, 'utf8'));
  complete.push(...found.findings);
  scanners.push(...found.scanners);
}

const rows = explanations(join(project, 'docs/security.md'));
const wrong = [
  ...compare(complete, rows.filter((r) => r.section !== byParameters), scanners),
  ...compare(apparent, rows.filter((r) => r.section === byParameters), scanners),
];
console.log(`${templates.length} templates, ${scanners.join(', ')}: ${complete.length} findings, ${apparent.length} more before parameters are filled`);
if (wrong.length > 0) {
  console.log(wrong.map((w) => `docs/security.md: ${w}`).join('\n'));
  process.exitCode = 1;
}
