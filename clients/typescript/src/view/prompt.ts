/** What a prompt asks for, and what an answer that somebody typed means. */
import type { Prompt } from '../core/event.js';

/** How a prompt is to be answered. */
export interface Asked {
  /** `choice` only where there are choices; what is not understood is a text. */
  type: 'text' | 'number' | 'boolean' | 'choice' | 'password';
  choices: string[];
  /** Bounds of a number. */
  min?: number | undefined;
  max?: number | undefined;
  /** Bounds of a text, in characters. */
  minLength?: number | undefined;
  maxLength?: number | undefined;
}

/** Characters that a field takes where the prompt names no bound. */
const LENGTH_MAX = 16_000;

/** The words of executors for what is not a plain text. */
const KINDS: ReadonlyMap<unknown, Asked['type']> = new Map([
  ['number', 'number'],
  ['integer', 'number'],
  ['boolean', 'boolean'],
  ['confirm', 'boolean'],
  ['password', 'password'],
]);

/** Reads `inputType` and `validation` of a prompt. */
export function askedBy({ inputType, validation }: Prompt): Asked {
  const rule = (typeof validation === 'object' && validation !== null ? validation : {}) as Record<string, unknown>;
  const number = (name: string) => (typeof rule[name] === 'number' ? rule[name] : undefined);
  const told = [rule.choices, rule.enum, rule.options].find(Array.isArray) as unknown[] | undefined;
  const choices = (told ?? []).filter(choice => typeof choice === 'string');
  // A `choice` of nothing is a text: an empty list could not be answered.
  const type = choices.length > 0 ? 'choice' : (KINDS.get(inputType ?? rule.type) ?? 'text');
  const [min, max, minLength, maxLength] = [number('min'), number('max'), number('minLength'), number('maxLength')];
  return { type, choices, min, max, minLength, maxLength };
}

/**
 * A text as the kind of value that is asked for (`Asked.type`, or an `inputType`). What is no such value stays a text, so
 * that the executor says what is wrong with it.
 */
export function typed(type: string | undefined, text: string): unknown {
  const kind = KINDS.get(type);
  const word = text.trim().toLowerCase();
  if (kind === 'number' && word !== '' && Number.isFinite(Number(word))) return Number(word);
  if (kind === 'boolean' && /^(y|yes|true)$/.test(word)) return true;
  if (kind === 'boolean' && /^(n|no|false)$/.test(word)) return false;
  return text;
}

/** The properties of the field that takes an answer, by their names in the DOM. */
export function fieldOf({ type, choices: _, maxLength, ...bounds }: Asked) {
  const isNumber = type === 'number';
  return {
    ...bounds,
    type: isNumber || type === 'password' ? type : 'text',
    maxLength: maxLength ?? LENGTH_MAX,
    step: isNumber ? 'any' : undefined,
    required: isNumber,
    autoComplete: 'off',
  };
}
