/** What workflows are given, and what prompts are answered with, read from forms. */
import type { Prompt } from '@weft/client';

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

/** A text as the kind of value that is asked for. */
export function typed(type: string | undefined, text: string): unknown {
  if (type === 'number') return Number(text);
  if (type === 'boolean') return text === 'true';
  return text;
}

/** How a prompt is to be answered. */
export interface Asked {
  type: 'text' | 'number' | 'boolean' | 'choice' | 'password';
  choices: string[];
  min?: number | undefined;
  max?: number | undefined;
  minLength?: number | undefined;
  maxLength?: number | undefined;
}

/** Reads what executors say of a prompt; what is not understood is a text. */
export function askedBy({ inputType, validation }: Prompt): Asked {
  const rule = (typeof validation === 'object' && validation !== null ? validation : {}) as Record<string, unknown>;
  const number = (name: string) => (typeof rule[name] === 'number' ? rule[name] : undefined);
  const told = [rule.choices, rule.enum, rule.options].find(Array.isArray) as unknown[] | undefined;
  const choices = (told ?? []).filter(choice => typeof choice === 'string');
  const type = choices.length > 0 ? 'choice' : (inputType ?? rule.type);
  const known = type === 'number' || type === 'boolean' || type === 'choice' || type === 'password' ? type : 'text';
  const [min, max, minLength, maxLength] = [number('min'), number('max'), number('minLength'), number('maxLength')];
  return { type: known, choices, min, max, minLength, maxLength };
}
