// Runs a command beside a sign-in provider and a forge of its own, for the contract suites in Rust, which
// put faults into both: node tests/world/contracts.mjs --dir DIR CMD ARGS

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startForge } from './forge/forge.mjs';
import { startSignIn } from './signin.mjs';

const [flag, where, ...command] = process.argv.slice(2);
if (flag !== '--dir' || command.length === 0) {
  console.error('usage: node contracts.mjs --dir DIR CMD ARGS');
  process.exit(2);
}
const dir = resolve(where);
rmSync(dir, { recursive: true, force: true });
mkdirSync(dir, { recursive: true });
const signIn = await startSignIn({ port: 0, dir: join(dir, 'sign-in'), control: true });
const forge = await startForge({ port: 0, dir: join(dir, 'forge') });
const facts = {
  kind: 'github', url: forge.url, apiUrl: forge.apiUrl, appId: forge.appId, installationId: forge.installationId,
  privateKeyPem: forge.privateKeyPem, tokens: forge.tokens(), controlToken: forge.controlToken,
};
const child = spawn(command[0], command.slice(1), {
  stdio: 'inherit',
  env: { ...process.env, BREAKGLASS_SIGNIN: signIn.issuer, BREAKGLASS_FORGE: JSON.stringify(facts) },
});
const status = await new Promise((done) => { child.once('exit', (code) => done(code ?? 1)); child.once('error', () => done(127)); });
await Promise.all([signIn.stop(), forge.stop()]);
process.exit(status);
