// Compares what the linter of Kubernetes manifests found with docs/security.md: what
// is not explained there fails, and so does an explanation of nothing.
//
// usage: node run.mjs <findings>.json

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { compare, explanations } from '../templates/explained.mjs';

// The section on Kubernetes.
const kubernetes = 'What a linter finds in Kubernetes';

const found = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const rows = explanations(fileURLToPath(new URL('../../docs/security.md', import.meta.url))).filter((r) => r.section === kubernetes);
console.log(`${found.examples} examples, ${found.objects} objects, ${found.pods} with pods, kube-score: ${found.findings.length} findings`);
const wrong = compare(found.findings, rows, ['kube-score']);
if (found.pods === 0) {
  wrong.push('no object with pods was looked at');
}
if (wrong.length > 0) {
  console.log(wrong.map((w) => `docs/security.md: ${w}`).join('\n'));
  process.exitCode = 1;
}
