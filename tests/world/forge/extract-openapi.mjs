// Makes openapi.subset.json: the operations the stand-in answers, cut out of GitHub's own OpenAPI
// description (npm @octokit/openapi, 385 MB unpacked, so only the part used is checked in).
//
//   npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz package/package.json package/generated/api.github.com.json
//   node extract-openapi.mjs package > openapi.subset.json
//
// Schemas stay shared by $ref (dereferencing them all would take megabytes); examples and prose go.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const OPERATIONS = [
  'get /app',
  'post /app/installations/{installation_id}/access_tokens',
  'get /repos/{owner}/{repo}/installation',
  'get /orgs/{org}/installation',
  'get /users/{username}/installation',
  'get /user',
  'get /users/{username}',
  'get /repos/{owner}/{repo}',
  'get /repos/{owner}/{repo}/branches/{branch}',
  'get /repos/{owner}/{repo}/branches/{branch}/protection',
  'put /repos/{owner}/{repo}/branches/{branch}/protection',
  'delete /repos/{owner}/{repo}/branches/{branch}/protection',
  'get /repos/{owner}/{repo}/rules/branches/{branch}',
  'get /repos/{owner}/{repo}/git/ref/{ref}',
  'post /repos/{owner}/{repo}/git/refs',
  'patch /repos/{owner}/{repo}/git/refs/{ref}',
  'delete /repos/{owner}/{repo}/git/refs/{ref}',
  'post /repos/{owner}/{repo}/git/blobs',
  'get /repos/{owner}/{repo}/git/blobs/{file_sha}',
  'post /repos/{owner}/{repo}/git/trees',
  'get /repos/{owner}/{repo}/git/trees/{tree_sha}',
  'post /repos/{owner}/{repo}/git/commits',
  'get /repos/{owner}/{repo}/git/commits/{commit_sha}',
  'get /repos/{owner}/{repo}/contents/{path}',
  'get /repos/{owner}/{repo}/activity',
  'get /repos/{owner}/{repo}/commits',
  'get /repos/{owner}/{repo}/commits/{ref}',
  'get /repos/{owner}/{repo}/compare/{basehead}',
  'get /repos/{owner}/{repo}/commits/{ref}/check-runs',
  'get /repos/{owner}/{repo}/commits/{ref}/status',
  'post /repos/{owner}/{repo}/statuses/{sha}',
  'post /repos/{owner}/{repo}/check-runs',
  'get /repos/{owner}/{repo}/check-runs/{check_run_id}',
  'patch /repos/{owner}/{repo}/check-runs/{check_run_id}',
  'get /repos/{owner}/{repo}/pulls',
  'post /repos/{owner}/{repo}/pulls',
  'get /repos/{owner}/{repo}/pulls/{pull_number}',
  'patch /repos/{owner}/{repo}/pulls/{pull_number}',
  'get /repos/{owner}/{repo}/pulls/{pull_number}/files',
  'get /repos/{owner}/{repo}/pulls/{pull_number}/commits',
  'put /repos/{owner}/{repo}/pulls/{pull_number}/merge',
  'get /repos/{owner}/{repo}/pulls/{pull_number}/reviews',
  'post /repos/{owner}/{repo}/pulls/{pull_number}/reviews',
  'get /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers',
  'post /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers',
];

const root = process.argv[2];
const source = JSON.parse(readFileSync(join(root, 'generated/api.github.com.json'), 'utf8'));
const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
const schemas = {};

const follow = (ref) => ref.slice(2).split('/').reduce((node, key) => node[key.replace(/~1/g, '/').replace(/~0/g, '~')], source);
const PROSE = new Set(['example', 'examples', 'description', 'externalDocs', 'title', 'default', 'x-github', 'deprecated', 'readOnly']);

/** A JSON Schema without prose; OpenAPI's `nullable` becomes the type "null", as ajv reads it. */
function schema(node, isPropertyMap = false) {
  if (Array.isArray(node)) return node.map((item) => schema(item));
  if (node === null || typeof node !== 'object') return node;
  if (node.$ref) {
    const name = node.$ref.split('/').pop();
    if (!(name in schemas)) {
      schemas[name] = null;
      schemas[name] = schema(follow(node.$ref));
    }
    return { $ref: `#/components/schemas/${name}` };
  }
  const out = {};
  for (const [key, value] of Object.entries(node)) {
    if (!isPropertyMap && PROSE.has(key)) continue;
    out[key] = key === 'enum' || key === 'required' ? value : schema(value, !isPropertyMap && (key === 'properties' || key === 'patternProperties'));
  }
  if (!isPropertyMap && out.nullable === true) {
    delete out.nullable;
    if (typeof out.type === 'string') {
      out.type = [out.type, 'null'];
      if (out.enum && !out.enum.includes(null)) out.enum = [...out.enum, null];
    } else {
      return { anyOf: [{ type: 'null' }, out] };
    }
  }
  return out;
}

const whole = (node) => (node.$ref ? whole(follow(node.$ref)) : node);
const json = (content) => content?.['application/json'] ?? content?.['application/scim+json'];

const operations = OPERATIONS.map((line) => {
  const [method, path] = line.split(' ');
  const operation = source.paths[path]?.[method];
  if (!operation) throw new Error(`GitHub's description has no ${line}`);
  const responses = {};
  for (const [status, answer] of Object.entries(operation.responses)) {
    const body = json(whole(answer).content);
    responses[status] = body ? schema(body.schema) : null;
  }
  const requestBody = operation.requestBody && whole(operation.requestBody);
  return {
    id: operation.operationId,
    method,
    path,
    parameters: [...(source.paths[path].parameters ?? []), ...(operation.parameters ?? [])].map(whole).map((p) => ({
      name: p.name, in: p.in, required: p.required === true, schema: schema(p.schema),
    })),
    body: requestBody ? { required: requestBody.required === true, schema: schema(json(requestBody.content).schema) } : null,
    responses,
  };
});

process.stdout.write(`${JSON.stringify({ source: `@octokit/openapi ${version}`, operations, components: { schemas } })}\n`);
