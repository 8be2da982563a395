/** What workflows are given, read from forms. */
import { typed } from '@weft/client/view/prompt.js';

export interface Input {
  description?: string;
  type?: string;
  required?: boolean;
  default?: unknown;
}

/** A workflow, as its executor announces it. */
export interface Workflow {
  name: string;
  description?: string;
  inputs?: Record<string, Input>;
}

/** The inputs of a form. What was left empty is left out, so that the workflow's own default counts. */
export function inputsOf(workflow: Workflow, field: (name: string) => unknown): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [name, { type }] of Object.entries(workflow.inputs ?? {})) {
    const text = field(name);
    if (typeof text === 'string' && text !== '') given[name] = typed(type, text);
  }
  return given;
}
