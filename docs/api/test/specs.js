/** The documents as schemas: what they name can be validated against. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { parse } from 'yaml';
import { api } from './rig.js';

export const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

export const read = name => parse(readFileSync(join(api, name), 'utf8'));

const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: true });
formats(ajv);
// A whole document is no schema; only parts of it are used as such.
for (const name of ['openapi.yaml', 'executor.yaml', 'control.yaml', 'asyncapi.yaml'])
  ajv.addSchema({ $id: name, ...read(name) }, name, undefined, false);

const compiled = new Map();

/** What is wrong with a value by the schema at a place of a document, as text; empty if nothing is. */
export function flaws(document, pointer, value) {
  const ref = `${document}#${pointer}`;
  if (!compiled.has(ref)) compiled.set(ref, ajv.compile({ $ref: ref }));
  const validate = compiled.get(ref);
  if (validate(value)) return '';
  return `${ref}: ${ajv.errorsText(validate.errors, { separator: '; ' })} in ${JSON.stringify(value).slice(0, 800)}`;
}

export const escaped = segment => segment.replaceAll('~', '~0').replaceAll('/', '~1');

/** Follows references within a document: what stands at a place, and the pointer to where it really stands. */
export function resolved(document, pointer) {
  const steps = pointer.split('/').slice(1);
  let [at, value] = ['', document];
  for (const step of steps) {
    if (value?.$ref) [at, value] = place(document, value.$ref);
    at += `/${step}`;
    value = value?.[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return value?.$ref ? place(document, value.$ref) : [at, value];
}

function place(document, ref) {
  if (!ref.startsWith('#')) throw new Error(`${ref} leads out of the document`);
  return resolved(document, ref.slice(1));
}

/** Every operation of an OpenAPI document. */
export function operations(document) {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter(method => item[method]).map(method => ({ path, method, ...item[method] })),
  );
}
