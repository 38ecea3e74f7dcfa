// The test world: a cluster with its audit tap, the sign-in, the forge with the shop's repository, the shop
// in the cluster, a mail server. Everything listens on 127.0.0.1 and ends with the process that started it.
//
//   node tests/world/world.mjs --dir DIR [--fresh] [--world-only] [--run COMMAND ARGUMENT...]
//
// keeps it up until Ctrl-C; with --run, until that command has ended (BREAKGLASS_WORLD names world.json).
// DIR/world.json holds addresses, tokens and paths; client.mjs reads it.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { binary, breakglass } from './broker.mjs';
import { Child, freePort, until } from './children.mjs';
import { writeWhole } from './certificates.mjs';
import { prepare, recommendedAuditPolicy, start as startCluster } from './cluster.mjs';
import { clusterName, paths, writeConfig } from './config.mjs';
import { startPostgres, wanted as postgresWanted } from './postgres.mjs';
import { serveControl } from './control.mjs';
import { startForge } from './forge/forge.mjs';
import { startMail } from './mail.mjs';
import { startSignIn } from './signin.mjs';
import { startSync } from './sync.mjs';
import { startTap } from './tap.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** The forge's login of each person, by the employee id the sign-in vouches for. */
const logins = {
  E1001: 'oncall-engineer', E1002: 'second-engineer', E2001: 'first-approver', E2002: 'second-approver', E3001: 'compliance',
};

function kept(path, make) {
  if (!existsSync(path)) writeWhole(path, JSON.stringify(make()));
  return JSON.parse(readFileSync(path, 'utf8'));
}

/**
 * Makes sure that one process alone keeps the world in `dir`, and empties it where `fresh`. Two of them would
 * write into one another's data.
 */
export function claim(dir, { fresh = false } = {}) {
  const lock = join(resolve(dir), 'lock');
  const holder = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
  if (holder && holder !== process.pid) {
    let alive = true;
    try {
      process.kill(holder, 0);
    } catch (error) {
      alive = error.code === 'EPERM';
    }
    if (alive) throw new Error(`process ${holder} keeps the world in ${dir}: end it first, or name another folder (or, if that process is something else, delete ${lock})`);
  }
  if (fresh) rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeWhole(lock, String(process.pid));
}

/** The files under `dir`, by their path from it. */
function filesUnder(dir) {
  return Object.fromEntries(readdirSync(dir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
    .map((one) => join(one.parentPath ?? one.path, one.name)).map((path) => [relative(dir, path), readFileSync(path, 'utf8')]));
}

/** A kubeconfig with the broker's ServiceAccount's token: the rights `breakglass manifests` gives it, and no other. */
async function brokerKubeconfig(cluster, path) {
  const { stdout: token } = await cluster.kubectl(['create', 'token', 'breakglass', '-n', 'breakglass', '--duration=720h']);
  writeWhole(path, stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: clusterName, cluster: { server: cluster.server, 'certificate-authority': cluster.caFile } }],
    users: [{ name: 'breakglass', user: { token: token.trim() } }],
    contexts: [{ name: clusterName, context: { cluster: clusterName, user: 'breakglass' } }],
    'current-context': clusterName,
  }));
}

/**
 * Starts everything and returns the handles. Data in `dir` survives; ports and secrets are kept there too.
 * `change(config)`: alters the broker's configuration before it is written.
 * `worldOnly`: without the broker's configuration applied to the cluster (the recommended audit policy is used
 * then); otherwise the program must be built, and namespaces, roles, admission and audit policies are its own.
 */
export async function startWorld({ dir, change, worldOnly = false, apiFlags = [], say = () => {} }) {
  dir = resolve(dir);
  claim(dir);
  const keptPorts = existsSync(join(dir, 'ports.json')) ? JSON.parse(readFileSync(join(dir, 'ports.json'), 'utf8')) : {};
  const ports = {};
  for (const part of ['tap', 'signIn', 'forge', 'mail', 'broker', 'control']) ports[part] = await freePort(keptPorts[part]);
  writeWhole(join(dir, 'ports.json'), JSON.stringify(ports));
  const secrets = kept(join(dir, 'secrets.json'), () => Object.fromEntries(
    ['client', 'audit', 'tap', 'forgeWebhook', 'control', 'gatewayKey', 'inGit'].map((name) => [name, randomBytes(24).toString('hex')]),
  ));
  const url = `http://127.0.0.1:${ports.broker}`;
  const stops = [];
  const started = async (name, starting) => {
    const part = await starting;
    stops.unshift(() => part.stop());
    return part;
  };
  const stop = async () => {
    for (const one of stops.splice(0)) await one().catch((error) => say(`stopping: ${error.message}`));
    rmSync(join(dir, 'lock'), { force: true });
  };

  try {
    const base = await prepare({ dir: join(dir, 'cluster') });
    const mail = await started('mail', startMail({ port: ports.mail }));
    const client = {
      client_id: 'breakglass',
      client_name: 'breakglass',
      client_secret: secrets.client,
      redirect_uris: [`${url}${paths.signInBack}`],
      post_logout_redirect_uris: [`${url}${paths.signedOut}`, `${url}/`],
    };
    const signIn = await started('sign-in', startSignIn({ port: ports.signIn, dir: join(dir, 'sign-in'), clients: [client], control: true }));
    const forge = await started('forge', startForge({ port: ports.forge, dir: join(dir, 'forge') }));
    // An old sin, as real repositories have them: the broker reads this file and must never repeat what is in it.
    const sin = stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'legacy-gateway', namespace: 'payments' }, stringData: { 'api-key': secrets.inGit } });
    const shop = await forge.createRepo('shop', { ...filesUnder(join(here, 'shop')), 'apps/payments/legacy.yaml': sin });
    // As a shop would: nothing reaches main without the broker's check, pinned to the broker's App.
    await forge.protect('demo', 'shop', 'main', { checks: [{ context: 'breakglass/independent-approval', app_id: forge.appId }] });
    await forge.setWebhook(`${url}${paths.forge}`, secrets.forgeWebhook);
    const tap = await started('tap', startTap({ port: ports.tap, token: secrets.tap, tls: await base.ca.server('tap'), file: join(dir, 'audit.ndjson') }));
    tap.subscribe({ name: 'broker', url: `${url}${paths.audit}`, token: secrets.audit });

    const brokerDir = join(dir, 'broker');
    mkdirSync(brokerDir, { recursive: true, mode: 0o700 });
    const kubeconfig = join(brokerDir, 'kubeconfig');
    const database = postgresWanted ? await started('PostgreSQL', startPostgres()) : undefined;
    const config = writeConfig({
      dir: brokerDir,
      change,
      facts: {
        database: database?.address,
        publicUrl: url,
        port: ports.broker,
        issuer: signIn.issuer,
        clientId: client.client_id,
        clientSecret: secrets.client,
        brokerKubeconfig: kubeconfig,
        server: base.server,
        caFile: base.caFile,
        auditToken: secrets.audit,
        forge: {
          apiUrl: forge.apiUrl, webUrl: forge.url, appId: forge.appId, privateKeyPem: forge.privateKeyPem, webhookSecret: secrets.forgeWebhook, repository: `${shop.owner}/${shop.name}`, logins,
        },
        mail,
      },
    });
    let auditPolicy = recommendedAuditPolicy;
    if (!worldOnly) {
      auditPolicy = join(brokerDir, 'audit-policy.yaml');
      writeWhole(auditPolicy, (await breakglass(['manifests', '--audit-policy', config])).stdout);
    }
    const cluster = await started('cluster', startCluster({
      dir: join(dir, 'cluster'), auditPolicy, apiFlags, say, tap: { url: tap.url, token: secrets.tap, caFile: base.caFile },
    }));
    if (!worldOnly) {
      const manifests = (await breakglass(['manifests', config])).stdout;
      // A namespace and what is in it come in one stream; the first pass may be early for the latter.
      await cluster.applyYaml(manifests).catch(() => cluster.applyYaml(manifests));
      await brokerKubeconfig(cluster, kubeconfig);
      say('the broker\'s namespaces, roles and policies are in the cluster');
    }

    await cluster.applyYaml(stringify({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'shop-sync' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'shop-sync' }],
    }));
    mkdirSync(join(dir, 'sync'), { recursive: true });
    const sync = await started('sync', startSync({
      url: shop.gitUrl, kubectl: cluster.kubectl, kubeconfig: await base.kubeconfigFor('shop-sync', 'shop-sync'), dir: join(dir, 'sync'), log: say,
    }));
    await sync.now();
    await cluster.applyYaml(stringify({
      apiVersion: 'v1', kind: 'Secret', metadata: { name: 'payment-gateway', namespace: 'payments' }, stringData: { 'api-key': secrets.gatewayKey },
    }));
    await until('the shop\'s Pods', async () => {
      const { stdout } = await cluster.kubectl(['get', 'pods', '-A', '-o', 'jsonpath={range .items[*]}{.metadata.namespace} {.status.phase}{"\\n"}{end}']);
      return stdout.split('\n').filter((line) => line === 'payments Running').length >= 1;
    }, { ms: 60_000 });
    say('the shop is deployed');

    const handles = {
      tap, mail, signIn, forge, sync, api: cluster.api, keys: signIn.keys, forgeFaults: { arm: (fault) => forge.faults.arm(fault), clear: () => forge.faults.clear() },
    };
    const control = await started('control', serveControl({ port: ports.control, token: secrets.control, handles }));
    const facts = {
      dir,
      url,
      control: { url: control.url, token: secrets.control },
      cluster: {
        name: clusterName, server: cluster.server, caFile: cluster.caFile, adminKubeconfig: cluster.adminKubeconfig, ownerKubeconfig: cluster.ownerKubeconfig, brokerKubeconfig: kubeconfig, auditLog: cluster.auditLog, kubectlCache: join(dir, 'cluster', 'kubectl-cache'),
      },
      tap: { file: tap.file, port: tap.port },
      signInAddress: signIn.issuer,
      forgeAddress: { url: forge.url, apiUrl: forge.apiUrl, appId: forge.appId, controlToken: forge.controlToken, tokens: forge.tokens(), repository: `${shop.owner}/${shop.name}`, gitUrl: shop.gitUrl },
      mailAddress: { host: mail.host, port: mail.port },
      broker: { config, dir: brokerDir, auditPath: paths.audit, auditToken: secrets.audit, store: database?.address ?? join(brokerDir, 'breakglass.db') },
    };
    writeWhole(join(dir, 'world.json'), JSON.stringify(facts, null, 2));
    return { ...facts, facts, file: join(dir, 'world.json'), handles, cluster, tap, mail, signIn, forge, sync, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Keeps the world until `command` (as for `Child.start`) has ended, or until a signal; then takes it down.
 * Resolves with the exit status. Under ./x it ends with that as well, however ./x ended.
 */
export async function attend(world, command, ready = () => {}) {
  const runner = Number(process.env.BREAKGLASS_RUNNER) === process.ppid ? process.ppid : undefined;
  let status;
  const told = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => resolve(130));
    if (runner) setInterval(() => { if (process.ppid !== runner) resolve(130); }, 500).unref();
  });
  try {
    await ready();
    const child = command && await Child.start(command);
    status = await (child ? Promise.race([child.exit, told]) : told);
    await child?.killAll();
  } finally {
    await world.stop();
  }
  return typeof status === 'number' ? status : 1;
}

/** How to use a running world by hand. */
export function usage(world) {
  return `
  cluster    export KUBECONFIG=${world.cluster.adminKubeconfig}
  sign-in    ${world.signIn.issuer}
  forge      ${world.forge.url}/${world.forgeAddress.repository}
  mail       smtp://${world.mail.host}:${world.mail.port}
  audit      ${world.tap.file}
  broker     ${binary()} serve --config ${world.broker.config}
             then ${world.url}
  facts      ${world.file}
  \`kubectl exec\` runs its command on this machine, in ${join(world.dir, 'cluster', 'pods')}.
`;
}

if (process.argv[1] && import.meta.url === `file://${resolve(process.argv[1])}`) {
  const args = process.argv.slice(2);
  const at = args.indexOf('--run');
  const command = at < 0 ? undefined : args.splice(at).slice(1);
  const dir = args[args.indexOf('--dir') + 1];
  if (!args.includes('--dir') || !dir || (command && !command.length)) {
    console.error('usage: node world.mjs --dir DIR [--fresh] [--world-only] [--run COMMAND ARGUMENT...]');
    process.exit(2);
  }
  claim(dir, { fresh: args.includes('--fresh') });
  const begun = Date.now();
  const world = await startWorld({
    dir,
    worldOnly: args.includes('--world-only'),
    say: (text) => console.log(`  ${((Date.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${text}`),
  });
  const status = await attend(world, command && {
    name: command[0], command, env: { BREAKGLASS_WORLD: world.file },
  }, () => console.log(usage(world)));
  process.exit(status);
}
