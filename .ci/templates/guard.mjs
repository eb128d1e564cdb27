// AWS CloudFormation Guard with the rules of AWS Control Tower.
// https://docs.aws.amazon.com/cfn-guard/latest/ug/what-is-guard.html

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

// guard gives the findings of all rules on all templates.
export function guard(templates, modules) {
  const home = join(modules, '@cdklabs/cdk-validator-cfnguard');
  const os = { linux: 'ubuntu', darwin: 'macos' }[process.platform];
  const arch = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];
  const data = mkdtempSync(join(tmpdir(), 'guard-'));
  try {
    for (const t of templates) {
      mkdirSync(join(data, t.example), { recursive: true });
      writeFileSync(join(data, t.example, `${t.stack}.json`), JSON.stringify(t.body));
    }
    const run = spawnSync(
      join(home, 'bin', os, arch, 'cfn-guard'),
      ['validate', '--rules', join(home, 'rules'), '--data', data, '--structured', '--output-format', 'json', '--show-summary', 'none'],
      { encoding: 'utf8', maxBuffer: 1 << 30 },
    );
    const clean = 0, findings = 19;
    if (run.error || ![clean, findings].includes(run.status)) {
      throw new Error(`run cfn-guard: ${run.error ?? run.stderr}`);
    }
    const reports = JSON.parse(run.stdout);
    if (reports.length !== templates.length) {
      throw new Error(`cfn-guard looked at ${reports.length} of ${templates.length} templates`);
    }
    return reports.flatMap((report) =>
      report.not_compliant.flatMap(({ Rule: rule }) =>
        resources(rule).map((resource) => ({
          rule: `guard:${rule.name}`,
          example: basename(dirname(report.name)),
          stack: basename(report.name, '.json'),
          resource,
        })),
      ),
    );
  } finally {
    rmSync(data, { recursive: true });
  }
}

// resources are the logical ids in what a rule reports.
function resources(report) {
  const ids = new Set();
  const walk = (v) => {
    if (v === null || typeof v !== 'object') {
      return;
    }
    const [, id] = /^\/Resources\/([^/]+)/.exec(v.path ?? '') ?? [];
    if (id) {
      ids.add(id);
    }
    Object.values(v).forEach(walk);
  };
  walk(report);
  if (ids.size === 0) {
    throw new Error(`cfn-guard's rule ${report.name} names no resource`);
  }
  return [...ids];
}
