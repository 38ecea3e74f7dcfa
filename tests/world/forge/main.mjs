// Runs the stand-in alone: node main.mjs DIR [PORT] [FACTS]. Prints, and writes to FACTS, what a client needs.
import { writeFileSync } from 'node:fs';
import { startForge } from './forge.mjs';

const [dir, port = '0', facts] = process.argv.slice(2);
if (!dir) {
  console.error('usage: node main.mjs DIR [PORT] [FACTS]');
  process.exit(2);
}
const forge = await startForge({ dir, port: Number(port) });
const text = JSON.stringify({
  kind: 'github', url: forge.url, apiUrl: forge.apiUrl, appId: forge.appId, installationId: forge.installationId, privateKeyPem: forge.privateKeyPem,
  tokens: forge.tokens(), controlToken: forge.controlToken,
});
if (facts) writeFileSync(facts, text, { mode: 0o600 });
console.log(facts ? `forge ready at ${forge.url}` : text);
const stop = async () => { await forge.stop(); process.exit(0); };
process.once('SIGTERM', stop).once('SIGINT', stop);
