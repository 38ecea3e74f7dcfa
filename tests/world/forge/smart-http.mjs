// Git over HTTP by git's own CGI program, so that Argo CD, Flux and `git` speak to it as to any forge.
import { spawn } from 'node:child_process';
import { caller } from './access.mjs';

/** Serves one git request; after a push, tells the forge which branches moved and by whom. */
export async function smartHttp(forge, repo, rest, request, response) {
  const pushing = rest === '/git-receive-pack' || request.query.get('service') === 'git-receive-pack';
  let login = '';
  try {
    const who = caller(forge.state, request.headers.authorization);
    if (who.repos && !who.repos.includes(repo.id)) throw new Error('not this repository');
    login = who.login;
  } catch {
    // Reading is open, so that the cluster's controllers need no secret; writing never is.
    if (pushing) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="forge"' }).end('Authentication required\n');
      return;
    }
  }
  const git = forge.git(repo);
  const before = pushing ? await git.refs() : null;
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_PROJECT_ROOT: git.dir, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: rest, REMOTE_USER: login, REMOTE_ADDR: '127.0.0.1',
      REQUEST_METHOD: request.method, QUERY_STRING: request.query.toString(), CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '', GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
    },
  });
  child.stdin.on('error', () => {});
  request.pipe(child.stdin);
  const chunks = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  const code = await new Promise((resolve) => { child.on('close', resolve); child.on('error', () => resolve(-1)); });
  const whole = Buffer.concat(chunks);
  const end = whole.indexOf('\r\n\r\n');
  if (code !== 0 || end < 0) {
    response.writeHead(500).end('git http-backend failed\n');
    return;
  }
  let status = 200;
  const headers = {};
  for (const line of whole.subarray(0, end).toString('latin1').split('\r\n')) {
    const [name, value] = line.split(/:\s*/, 2);
    if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
    else headers[name.toLowerCase()] = value;
  }
  if (before) {
    const after = await git.refs();
    const moves = [...new Set([...before.keys(), ...after.keys()])].filter((ref) => before.get(ref) !== after.get(ref)).map((ref) => [ref, before.get(ref) ?? null, after.get(ref) ?? null]);
    if (moves.length > 0) await forge.write(() => forge.refsMoved(repo, login, moves));
  }
  response.writeHead(status, headers).end(whole.subarray(end + 4));
}
