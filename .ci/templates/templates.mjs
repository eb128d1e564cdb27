// The golden templates, as they are sent and as they are deployed.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// read gives all golden templates below a folder, <example>/<stack>.json.
export function read(root) {
  return readdirSync(root).flatMap((example) =>
    readdirSync(join(root, example)).map((file) => ({
      example,
      stack: file.replace(/\.json$/, ''),
      body: JSON.parse(readFileSync(join(root, example, file), 'utf8')),
    })),
  );
}

// deployed is a template with its parameters filled and its conditions decided,
// as CloudFormation sees it once the deployment is complete: protected, and
// with the outputs of other stacks.
export function deployed(template) {
  const { Parameters = {}, Conditions = {}, ...rest } = template.body;
  const values = {};
  for (const [name, p] of Object.entries(Parameters)) {
    values[name] = value(name, p);
  }
  const holds = (c) => {
    const [[f, args]] = Object.entries(c);
    switch (f) {
      case 'Condition':
        return holds(Conditions[args]);
      case 'Fn::Not':
        return !holds(args[0]);
      case 'Fn::And':
        return args.every(holds);
      case 'Fn::Or':
        return args.some(holds);
      case 'Fn::Equals':
        return JSON.stringify(fill(args[0])) === JSON.stringify(fill(args[1]));
    }
    throw new Error(`condition function ${f} is not modelled`);
  };
  const nothing = Symbol('AWS::NoValue');
  const fill = (v) => {
    if (Array.isArray(v)) {
      return v.map(fill).filter((x) => x !== nothing);
    }
    if (v === null || typeof v !== 'object') {
      return v;
    }
    if (v.Ref === 'AWS::NoValue') {
      return nothing;
    }
    if (v.Ref in values) {
      return values[v.Ref];
    }
    if (v['Fn::If']) {
      const [condition, yes, no] = v['Fn::If'];
      return fill(holds(Conditions[condition]) ? yes : no);
    }
    // Attributes of load balancers are texts, all other flags are none.
    const entries = Object.entries(v).map(([key, x]) => [key, key === 'Value' && x?.Ref === 'Protection' ? 'true' : fill(x)]);
    return Object.fromEntries(entries.filter(([, x]) => x !== nothing));
  };
  const resources = Object.entries(rest.Resources)
    .filter(([, r]) => !r.Condition || holds(Conditions[r.Condition]))
    .map(([id, { Condition, ...r }]) => [id, r]);
  // Parameters stay declared: texts in Fn::Sub name them.
  return { ...template, body: { ...rest, Parameters, Resources: fill(Object.fromEntries(resources)) } };
}

// value is what a parameter has in a complete deployment: an output of another
// stack is as good as its name, but for a certificate, whose ARN guard looks at.
function value(name, p) {
  if (name === 'Protection') {
    return true;
  }
  const output = name.endsWith('CertificateArn') ? `arn:aws:acm:us-east-1:123456789012:certificate/${name}` : `<${name}>`;
  return p.Default ?? (p.Type === 'CommaDelimitedList' ? [output] : output);
}
