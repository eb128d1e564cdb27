// The explanations in docs/security.md.

import { readFileSync } from 'node:fs';

// Explanations are rows of Markdown tables with the columns Where, Rules and
// Answer. Where holds `stack/Resource`, with an example and a colon before it
// if the row is for that example only; Rules hold `scanner:rule`. A * in either
// stands for anything.
export function explanations(file) {
  const out = [];
  let section = '';
  for (const [i, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    if (line.startsWith('## ')) {
      section = line.slice(3);
    }
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    if (cells.length !== 5 || !cells[2].startsWith('`')) {
      continue;
    }
    const [, where, rules, answer] = cells;
    if (!answer) {
      throw new Error(`${file}:${i + 1}: no answer`);
    }
    const codes = (cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => ({ code, used: false }));
    out.push({ line: i + 1, section, where: codes(where), rules: codes(rules) });
  }
  return out;
}

// CI runs these scanners, though not all of them each time.
const known = ['guard', 'nag', 'kics', 'kube-score'];

// compare gives what is wrong: findings that no row explains, and parts of rows
// that explain nothing. What a scanner that did not run may have found is left
// alone.
export function compare(findings, rows, scanners) {
  const wrong = new Set();
  for (const f of findings) {
    let explained = false;
    for (const row of rows) {
      const where = row.where.filter(({ code }) => matches(place(code), `${f.example}:${f.stack}/${f.resource}`));
      const rules = row.rules.filter(({ code }) => matches(code, f.rule));
      if (where.length > 0 && rules.length > 0) {
        explained = true;
        [...where, ...rules].forEach((part) => (part.used = true));
      }
    }
    if (!explained) {
      wrong.add(`${f.rule} at ${f.example}:${f.stack}/${f.resource} is not explained`);
    }
  }
  for (const row of rows) {
    const of = (names) => row.rules.filter(({ code }) => names.includes(code.split(':')[0]));
    const ran = of(scanners);
    const all = ran.length > 0 && ran.length === of(known).length;
    for (const { code, used } of [...ran, ...(all ? row.where : [])]) {
      if (!used) {
        wrong.add(`line ${row.line} explains ${code}, which is no finding`);
      }
    }
  }
  return [...wrong].sort();
}

const place = (code) => (code.includes(':') ? code : `*:${code}`);

function matches(pattern, text) {
  const literal = (s) => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${pattern.split('*').map(literal).join('.*')}$`).test(text);
}
