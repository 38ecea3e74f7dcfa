// What comes after an emergency: the files it leaves in git, and the way back when git does not want them.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, afterEach, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { run, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { tool } from '../world/tools.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'after-'));
const { parseAllDocuments, parse } = createRequire(join(dirname(fileURLToPath(import.meta.url)), '..', 'world', 'package.json'))('yaml');
let broker;
let engineer;
let approver;

const admin = (...args) => world.kubectl(['-n', 'payments', ...args]);
const live = async (...what) => JSON.parse((await admin('get', ...what, '-o', 'json')).stdout);

/** The folder of a branch; without one, of what is merged. */
async function tree(branch = 'main') {
  const work = mkdtempSync(join(dir, 'tree-'));
  await run(['git', 'clone', '--quiet', '--depth=1', `--branch=${branch}`, world.forgeAddress.gitUrl, work]);
  return work;
}

/** An object as it is merged: earlier emergencies of this world may have brought theirs to git. */
async function merged(kind, name) {
  const apps = join(await tree(), 'apps', 'payments');
  const files = readdirSync(apps, { recursive: true }).filter((file) => /\.ya?ml$/.test(file));
  const all = files.flatMap((file) => parseAllDocuments(readFileSync(join(apps, file), 'utf8')).map((one) => one.toJS()));
  return all.find((one) => one?.kind === kind && one.metadata.name === name);
}

/** The shop as its repository has it now, and nothing else in it. */
async function tidy() {
  await admin('delete', 'horizontalpodautoscalers', '--all');
  await admin('delete', 'configmaps', 'again', '--ignore-not-found');
  await admin('delete', 'deployments', 'by-create', 'by-apply', 'extra', '--ignore-not-found');
  await admin('apply', '--server-side', '--force-conflicts', '--field-manager=shop-sync', '-R', '-f', join(await tree(), 'apps', 'payments'));
}

before(async () => {
  await tidy();
  broker = await startBroker({ config: world.broker.config });
  engineer = await Actor.signedIn(world, 'oncall');
  approver = await Actor.signedIn(world, 'approver');
});
afterEach(tidy);
after(async () => {
  await broker?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const kubectl = async (key, args, input) => {
  const { status, stderr, stdout } = await world.kubectl(['-n', 'payments', ...args], { kubeconfig: key, anyStatus: true, input });
  assert.equal(status, 0, stderr);
  return stdout;
};

/** A whole emergency of these kubectl calls ([args, input]); returns the grant and its follow-up's path. */
async function emergency(calls) {
  const request = await engineer.ask();
  await approver.approve(request);
  const grant = await engineer.grantOf(request);
  const key = await engineer.key(grant, dir);
  for (const [args, input] of calls) await kubectl(key, args, input);
  await engineer.open(`/grants/${grant}`);
  await engineer.press(`/grants/${grant}/done`);
  await engineer.sees(`/grants/${grant}`, /This access is dead/, 60_000);
  const path = await until('the follow-up', async () => /\/follow-ups\/[0-9a-f-]{36}/.exec((await engineer.open(`/grants/${grant}`)).text.split('<main')[1] ?? '')?.[0]);
  await until('what is owed', async () => !/data-state="capturing"/.test((await engineer.open(path)).text), { ms: 120_000 });
  return { grant, path };
}

const state = async (path) => /data-state="([^"]+)"/.exec((await engineer.open(path)).text)?.[1];

/** The number of the follow-up's pull request. */
const pullOf = async (path) => /#(\d+)/.exec(words((await engineer.open(path)).text.split('id="pull"')[1] ?? ''))?.[1];

/** Presses a button of the forge's page. */
async function atForge(number, action, actor = 'approver') {
  const { url, repository } = world.forgeAddress;
  const answer = await fetch(`${url}/${repository}/pull/${number}`, {
    method: 'POST', redirect: 'manual', body: new URLSearchParams({ action, comment: '' }),
    headers: { origin: url, cookie: `actor=${actor}` },
  });
  assert.equal(answer.status, 303, await answer.text());
}

/** A file of the grant's branch. */
async function inBranch(grant, file) {
  return join(await tree(`breakglass/${grant}`), file);
}

const unescaped = (text) => text.replace(/<[^>]+>/g, '').replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
  .replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

const byApply = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: by-apply
  labels: {app: by-apply}
spec:
  selector:
    matchLabels: {app: by-apply}
  template:
    metadata:
      labels: {app: by-apply}
    spec:
      containers:
        - name: web
          image: example.test/shop/web:1
          ports:
            - containerPort: 8080
          env:
            - {name: LOG_LEVEL, value: debug}
          volumeMounts:
            - {name: scratch, mountPath: /tmp}
      volumes:
        - name: scratch
          emptyDir: {}
`;

test('a created object\'s file holds what was written and no server default, and applying it changes nothing', async () => {
  const workers = (await merged('Deployment', 'settlement-worker')).spec.replicas;
  await world.applyYaml(JSON.stringify({
    apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { name: 'settlement-worker', namespace: 'payments' },
    spec: { minReplicas: 1, maxReplicas: workers + 3, scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'settlement-worker' } },
  }));
  const { grant, path } = await emergency([
    [['create', 'deployment', 'by-create', '--image=example.test/shop/web:1', '--replicas=2', '--port=8080']],
    [['apply', '-f', '-'], byApply],
    [['scale', 'deployment', 'by-apply', '--replicas=2']],
    [['scale', 'deployment', 'settlement-worker', `--replicas=${workers + 1}`]],
  ]);
  assert.equal(await state(path), 'owed');
  const expected = {
    'by-create': {
      apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'by-create', namespace: 'payments', labels: { app: 'by-create' } },
      spec: {
        replicas: 2, selector: { matchLabels: { app: 'by-create' } },
        template: { metadata: { labels: { app: 'by-create' } }, spec: { containers: [{ name: 'web', image: 'example.test/shop/web:1', ports: [{ containerPort: 8080 }] }] } },
      },
    },
    'by-apply': (() => {
      const one = parse(byApply);
      one.metadata.namespace = 'payments';
      one.spec.replicas = 2;
      return one;
    })(),
  };
  for (const [name, wanted] of Object.entries(expected)) {
    const file = await inBranch(grant, `apps/payments/payments-deployment-${name}.yaml`);
    const text = readFileSync(file, 'utf8');
    assert.doesNotMatch(text, /terminationGracePeriodSeconds|revisionHistoryLimit|dnsPolicy|imagePullPolicy|strategy|resources|last-applied/);
    assert.deepEqual(parse(text), wanted);
    const before = await live('deployment', name);
    const tried = JSON.parse((await admin('apply', '--server-side', '--force-conflicts', '--dry-run=server', '-o', 'json', '-f', file)).stdout);
    assert.deepEqual(tried.spec, before.spec);
    assert.deepEqual(tried.metadata.labels, before.metadata.labels);
  }
  // The number of replicas is the autoscaler's.
  const page = words((await engineer.open(path)).text);
  assert.match(page, /Deployment payments\/settlement-worker/);
  assert.match(page, /HorizontalPodAutoscaler payments\/settlement-worker sets/);
  await atForge(await pullOf(path), 'close');
});

test('rejected: a revert is chosen once, the printed commands bring the cluster back, and it is seen', async () => {
  const git = { api: await merged('Deployment', 'payments-api'), config: await merged('ConfigMap', 'payments-config') };
  const { path } = await emergency([
    [['scale', 'deployment', 'payments-api', `--replicas=${git.api.spec.replicas + 2}`]],
    [['set', 'env', 'deployment/payments-api', 'LOG_LEVEL=debug', 'TRACE=on']],
    [['patch', 'configmap', 'payments-config', '--type=merge', '-p', `{"data":{"BANK_TIMEOUT":"${git.config.data.BANK_TIMEOUT}7","RETRY_LIMIT":null}}`]],
    [['delete', 'deployment', 'settlement-worker']],
    [['create', 'deployment', 'extra', '--image=example.test/shop/web:1']],
  ]);
  assert.equal(await state(path), 'owed');
  const number = await pullOf(path);
  const choose = async (actor) => {
    await actor.open(path);
    if (!/name="csrf"/.test(actor.page.text)) await actor.open('/');
    return actor.press(`${path}/revert`);
  };
  assert.equal((await choose(engineer)).status, 422, 'an open pull request is not rejected');
  await atForge(number, 'close');
  await engineer.sees(path, /Revert the cluster, or explain/);
  const compliance = await Actor.signedIn(world, 'compliance');
  assert.equal((await choose(compliance)).status, 422, 'compliance neither had nor approved the access');

  // Opened again, the choice is void.
  await choose(approver);
  await engineer.sees(path, /chose to revert/);
  await atForge(number, 'reopen');
  await engineer.sees(path, /is void/);
  assert.equal(await state(path), 'owed');
  await atForge(number, 'close');
  await engineer.sees(path, /Revert the cluster, or explain/);

  await Promise.all([choose(engineer), choose(approver)]);
  await choose(engineer);
  const page = (await engineer.open(path)).text;
  assert.equal(words(page.split('id="history"')[1]).match(/chose to revert: the cluster/g).length, 2, 'one entry for each time it was chosen');
  const ask = unescaped(/href="(\/requests\/new\?[^"]+)"/.exec(page)[1]);
  const form = words((await engineer.open(ask)).text);
  assert.match((await engineer.open(ask)).text, new RegExp(`Pull request #${number} was closed unmerged`));
  assert.match(form, /payments/);

  const commands = [...page.matchAll(/<pre id="back-\d+"[^>]*>([\s\S]*?)<\/pre>/g)].map(([, text]) => unescaped(text));
  assert.equal(commands.length, 4, commands.join('\n'));
  const bin = mkdtempSync(join(dir, 'bin-'));
  writeFileSync(join(bin, 'kubectl'), `#!/bin/sh\nexec ${tool('kubectl')} "$@"\n`, { mode: 0o755 });
  const paste = (command) => run(['bash', '-c', command], { env: { PATH: `${bin}:${process.env.PATH}`, KUBECONFIG: world.cluster.adminKubeconfig } });
  const [first, ...rest] = commands;
  await paste(first);
  await engineer.sees(path, /equals git again/, 90_000);
  assert.equal(await state(path), 'rejected', 'one of four is not all');
  for (const command of rest) await paste(command);
  await until('reverted', async () => await state(path) === 'reverted', { ms: 90_000 });

  const api = await live('deployment', 'payments-api');
  assert.equal(api.spec.replicas, git.api.spec.replicas);
  assert.deepEqual(api.spec.template.spec.containers[0].env, git.api.spec.template.spec.containers[0].env);
  assert.deepEqual((await live('configmap', 'payments-config')).data, git.config.data);
  assert.equal((await live('deployment', 'settlement-worker')).spec.strategy.type, 'Recreate');
  assert.equal((await admin('get', 'deployment', 'extra', '--ignore-not-found')).stdout, '');
});

test('an object deleted while nobody watched and made again is a new one', async () => {
  const made = [['create', 'configmap', 'again', '--from-literal=a=1']];
  await emergency([made]);
  await admin('delete', 'configmap', 'again');
  const { path } = await emergency([made]);
  assert.equal(await state(path), 'owed');
  assert.match(words((await engineer.open(path)).text), /again/);
});
