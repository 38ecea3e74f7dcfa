// The program where it may do next to nothing: an account without rights, a root it cannot write, no capability; and
// the settings that the examples give it, held to the tools that judge them.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { Actor, words } from './actor.mjs';
import { binary } from './broker.mjs';
import { Child, run, until } from './children.mjs';
import { connect } from './client.mjs';
import { top } from './tools.mjs';

const world = connect();
const example = (name) => join(top, 'examples', name);
const nobody = 65_534;

test('the broker works as nobody, with a root it cannot write, no capability and no new privilege', async () => {
  const isRoot = process.getuid() === 0;
  const dir = dirname(world.broker.config);
  const { stdout: owner } = await run(['stat', '-c', '%u', dir]);
  // Everything but the folder of the store is read only, /tmp and /dev/shm included.
  const confine = [
    'mount --make-rprivate /', `mount --bind ${dir} ${dir}`,
    'while read -r _ at _; do mount -o remount,bind,ro "$at" 2>/dev/null; done < /proc/self/mounts', `mount -o remount,bind,rw ${dir}`,
    'if touch /tmp/writable /dev/shm/writable /etc/writable 2>/dev/null; then echo "something else can be written" >&2; exit 1; fi',
    // Who is not root is root of a namespace of their own, where they have no other account to become.
    `exec setpriv ${isRoot ? `--reuid=${nobody} --regid=${nobody} --clear-groups` : ''} --bounding-set=-all --inh-caps=-all --no-new-privs "$@"`,
  ].join('\n');
  // What it is given to read, it can reach.
  const given = [dir, world.cluster.caFile];
  const opened = new Set([world.cluster.caFile]);
  for (const one of given) for (let at = dirname(one); at !== '/'; at = dirname(at)) opened.add(at);
  const modes = await Promise.all([...opened].map(async (at) => [at, (await run(['stat', '-c', '%a', at])).stdout.trim()]));
  const log = join(dir, 'confined.log');
  const program = join(dir, 'breakglass');
  await run(['install', '-m', '0755', binary(), program]);
  if (isRoot) await run(['chown', '-R', `${nobody}:${nobody}`, dir]);
  for (const at of opened) await run(['chmod', at === world.cluster.caFile ? 'a+r' : 'a+x', at]);
  const broker = await Child.start({
    name: 'confined', log, command: ['unshare', ...(isRoot ? [] : ['--user', '--map-root-user']), '--mount', 'sh', '-c', confine, 'sh', program, 'serve', '--config', world.broker.config],
  });
  try {
    await until('the broker', async () => {
      broker.alive();
      return (await fetch(`${world.url}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
    }, { ms: 60_000 });
    const status = readFileSync(`/proc/${broker.pid}/status`, 'utf8');
    const field = (name) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)[1];
    if (isRoot) assert.match(field('Uid'), new RegExp(`^${nobody}\\b`));
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(field(set), /^0+$/, set);
    assert.equal(field('NoNewPrivs'), '1');
    // Another process of the same account sees nothing of it, as it would of any other; and no core holds a key.
    if (isRoot) {
      const asNobody = (pid) => run(['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', 'cat', `/proc/${pid}/environ`], { anyStatus: true });
      const sleeper = await Child.start({ name: 'sleeper', log, command: ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', 'sleep', '60'] });
      await until('it to be seen', async () => (await asNobody(sleeper.pid)).status === 0);
      assert.match((await asNobody(broker.pid)).stderr, /Permission denied/);
      await sleeper.stop();
    }
    const auditor = await Actor.signedIn(world, 'auditor');
    assert.match(words((await auditor.open('/ledger')).text), /signed in/i);
    const oncall = await Actor.signedIn(world, 'oncall');
    const request = await oncall.ask();
    await oncall.open(`/requests/${request}`);
    await oncall.press(`/requests/${request}/withdraw`);
    assert.doesNotMatch(readFileSync(log, 'utf8'), /read-only|Read-only|Permission denied|Operation not permitted/);
  } finally {
    await broker.stop();
    for (const [at, mode] of modes) await run(['chmod', mode, at]);
    if (isRoot) await run(['chown', '-R', owner.trim(), dir]);
    rmSync(program);
  }
});

test('the process gives up by itself what it does not need', async () => {
  const broker = await Child.start({ name: 'broker', log: `${world.broker.config}.log`, command: [binary(), 'serve', '--config', world.broker.config] });
  try {
    await until('the broker', async () => {
      broker.alive();
      return (await fetch(`${world.url}/readyz`)).ok;
    }, { ms: 60_000 });
    assert.match(readFileSync(`/proc/${broker.pid}/status`, 'utf8'), /^NoNewPrivs:\s+1$/m);
  } finally {
    await broker.stop();
  }
});

test('the example of a systemd unit is valid and leaves little to take away', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'unit-'));
  try {
    const unit = join(dir, 'breakglass.service');
    // The analyser wants the program to be there; nothing else is changed.
    writeFileSync(unit, readFileSync(example('breakglass.service'), 'utf8').replaceAll('/usr/local/bin/breakglass', binary()));
    const analyse = ['/usr/bin/systemd-analyze', '/bin/systemd-analyze'].find((path) => existsSync(path)) ?? 'systemd-analyze';
    const verified = await run([analyse, 'verify', unit], { anyStatus: true });
    assert.equal(verified.status, 0, verified.stderr);
    assert.equal(verified.stderr.split('\n').filter((line) => line.includes('breakglass.service')).join('\n'), '');
    const judged = await run([analyse, 'security', '--offline=true', '--no-pager', '--threshold=15', unit], { anyStatus: true });
    assert.equal(judged.status, 0, judged.stdout.slice(-2_000));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('the example of a Deployment fits the Pod Security Standard "restricted"', async () => {
  const documents = parseAllDocuments(readFileSync(example('kubernetes.yaml'), 'utf8'), { merge: true }).map((one) => one.toJS());
  const namespace = 'strict-example';
  const moved = documents.map((one) => ({ ...one, metadata: { ...one.metadata, namespace } }));
  const levels = ['enforce', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}=restricted`);
  const dryRun = (object) => world.kubectl(['create', '--dry-run=server', '-f', '-'], { input: JSON.stringify(object), anyStatus: true });
  await world.kubectl(['create', 'namespace', namespace]);
  try {
    await world.kubectl(['label', 'namespace', namespace, ...levels]);
    await world.kubectl(['-n', namespace, 'create', 'serviceaccount', 'breakglass']);
    for (const one of moved) {
      const { status, stderr } = await dryRun(one);
      assert.equal(status, 0, `${one.kind}: ${stderr}`);
      assert.equal(stderr, '', `${one.kind}: a warning`);
    }
    const { spec, metadata } = moved.find(({ kind }) => kind === 'Deployment').spec.template;
    const pod = (change = (it) => it) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name: 'breakglass', namespace }, spec: change(structuredClone(spec)) });
    assert.equal((await dryRun(pod())).status, 0);
    const weaker = await dryRun(pod((it) => {
      delete it.containers[0].securityContext;
      return it;
    }));
    assert.match(weaker.stderr, /violates PodSecurity "restricted/, 'the standard refuses nothing here');
    const [container] = spec.containers;
    assert.equal(container.securityContext.readOnlyRootFilesystem, true);
    assert.ok(container.resources.limits.memory && container.readinessProbe && container.livenessProbe && container.startupProbe);
  } finally {
    await world.kubectl(['delete', 'namespace', namespace, '--wait=false']);
  }
});
