// cdk-nag's rule packs, on templates included in an app.
// https://github.com/cdklabs/cdk-nag

import { createRequire } from 'node:module';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// nag gives the findings of all packs on all templates. A rule that is in
// several packs under one name is reported once; a rule that could not tell is
// a finding too.
export function nag(templates, modules) {
  const require = createRequire(join(modules, 'x.js'));
  const { App, Stack } = require('aws-cdk-lib');
  const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');
  const packs = require('cdk-nag');
  const checks = [
    packs.AwsSolutionsChecks,
    packs.HIPAASecurityChecks,
    packs.NIST80053R4Checks,
    packs.NIST80053R5Checks,
    packs.PCIDSS321Checks,
    packs.ServerlessChecks,
  ].map((Pack) => new Pack());
  const data = mkdtempSync(join(tmpdir(), 'nag-'));
  const findings = new Map();
  try {
    for (const t of templates) {
      const file = join(data, 'template.json');
      writeFileSync(file, JSON.stringify(t.body));
      const stack = new Stack(new App(), 'Stack');
      new CfnInclude(stack, 'Template', { templateFile: file });
      for (const pack of checks) {
        for (const v of pack.validateScope(stack).violations) {
          // AwsSolutions-IAM5[Resource::*] and the like.
          const rule = `nag:${v.ruleName.slice(v.ruleName.indexOf('-') + 1)}`;
          for (const { constructPath } of v.violatingResources) {
            const f = { rule, example: t.example, stack: t.stack, resource: constructPath.split('/').pop() };
            findings.set(JSON.stringify(f), f);
          }
        }
      }
    }
  } finally {
    rmSync(data, { recursive: true });
  }
  return [...findings.values()];
}
