// Holds the stand-in to GitHub's own API description: every request and every answer of a known
// operation is validated, so a test cannot pass on a shape that GitHub would not send or accept.
import { readFileSync } from 'node:fs';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';

const description = JSON.parse(readFileSync(new URL('./openapi.subset.json', import.meta.url), 'utf8'));

const strictAjv = new Ajv({ strict: false, allErrors: false, validateFormats: true });
// Query and path values are text on the wire; only there may "2" stand for 2.
const coercingAjv = new Ajv({ strict: false, coerceTypes: true });
for (const ajv of [strictAjv, coercingAjv]) {
  addFormats(ajv);
  ajv.addFormat('int64', true);
  ajv.addFormat('repo.nwo', /^[\w.-]+\/[\w.-]+$/);
  ajv.addSchema({ $id: 'github', components: description.components });
}

/** Points a fragment's references at the shared document. */
const at = (schema) => JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"github#/components'));
const problem = (ajv, validate) => ajv.errorsText(validate.errors, { separator: '; ' });

const operations = description.operations.map((operation) => {
  const names = [...operation.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
  // `{path}` and `{ref}` hold slashes; every other parameter is one segment.
  const pattern = operation.path.replace(/\{(\w+)\}/g, (_, name) => (['path', 'ref', 'basehead', 'branch'].includes(name) ? '(.+)' : '([^/]+)'));
  const query = operation.parameters.filter((p) => p.in === 'query');
  return {
    ...operation,
    names,
    matches: new RegExp(`^${pattern}$`),
    fixed: operation.path.replace(/\{\w+\}/g, '').length,
    query: coercingAjv.compile({
      type: 'object',
      properties: Object.fromEntries(query.map((p) => [p.name, at(p.schema)])),
      required: query.filter((p) => p.required).map((p) => p.name),
    }),
    bodyCheck: operation.body && strictAjv.compile(at(operation.body.schema)),
    answers: Object.fromEntries(Object.entries(operation.responses).map(([status, schema]) => [status, schema && strictAjv.compile(at(schema))])),
  };
}).sort((a, b) => b.fixed - a.fixed);

/** The operation a method and an API path name, with its path parameters decoded; null when there is none. */
export function findOperation(method, path) {
  for (const operation of operations) {
    if (operation.method !== method.toLowerCase()) continue;
    const match = operation.matches.exec(path);
    if (!match) continue;
    const params = {};
    operation.names.forEach((name, index) => { params[name] = decodeURIComponent(match[index + 1]); });
    return { operation, params };
  }
  return null;
}

/** Why GitHub's description refuses this request, or null. */
export function requestProblem(operation, query, body) {
  if (!operation.query(query)) return problem(coercingAjv, operation.query);
  if (body === undefined) return operation.body?.required ? 'a body is required' : null;
  if (!operation.bodyCheck) return 'this operation takes no body';
  return operation.bodyCheck(body) ? null : problem(strictAjv, operation.bodyCheck);
}

/** Why GitHub's description does not know this answer, or null. */
export function answerProblem(operation, status, body) {
  // Redirects of renamed repositories, bad JSON, authentication and validation are global to the API and not listed per operation.
  if (!(String(status) in operation.responses)) return [301, 307, 400, 401, 403, 404, 422].includes(status) ? null : `status ${status} is not described`;
  const validate = operation.answers[status];
  if (!validate) return null;
  return validate(body) ? null : problem(strictAjv, validate);
}

const required = new Map();
/** The names a described schema requires, its `allOf` parts included. */
function requiredOf(name) {
  if (!required.has(name)) {
    const walk = (schema) => [
      ...(schema.required ?? []),
      ...(schema.allOf ?? []).flatMap((part) => walk(part.$ref ? description.components.schemas[part.$ref.split('/').pop()] : part)),
    ];
    required.set(name, walk(description.components.schemas[name]));
  }
  return required.get(name);
}

/**
 * Adds the links (`*_url`) and the `node_id` a schema requires. Facts are never filled in: a missing
 * one stays missing and fails the validation.
 */
export function withLinks(schema, url, object) {
  const links = {};
  for (const name of requiredOf(schema)) {
    if (name in object) continue;
    if (name.endsWith('_url')) links[name] = `${url}/${name.slice(0, -4)}`;
    if (name === 'node_id') links[name] = Buffer.from(`${schema}:${url}`).toString('base64url');
    if (name === 'url') links[name] = url;
  }
  return { ...links, ...object };
}

export const descriptionSource = description.source;
