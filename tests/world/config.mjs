// The broker's configuration for this world: what breakglass.example.yaml explains, with this world's addresses.

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { writeWhole } from './certificates.mjs';

/** The name of the cluster in the configuration. */
export const clusterName = 'demo';
/** The broker's paths that others call. */
export const paths = {
  audit: `/hooks/audit/${clusterName}`,
  forge: '/hooks/forge',
  signInBack: '/sign-in/callback',
  signedOut: '/signed-out',
};

/** A secret kept in a file of its own. */
function secret(path, value) {
  if (value !== undefined) writeWhole(path, value);
  else if (!existsSync(path)) writeWhole(path, randomBytes(32).toString('hex'));
  return { file: path };
}

/**
 * Writes `<dir>/breakglass.yaml` with its secrets beside it and returns its path.
 * `facts`: publicUrl, port, issuer, clientId, clientSecret, brokerKubeconfig, server, caFile, auditToken, forge
 * { apiUrl, webUrl, appId, privateKeyPem, webhookSecret, repository }, mail { host, port }, database (an address, where
 * the store is in PostgreSQL).
 * `change(config)` may alter the object before it is written.
 */
export function writeConfig({ dir, facts, change = (config) => config }) {
  const secrets = join(dir, 'secrets');
  mkdirSync(secrets, { recursive: true, mode: 0o700 });
  const config = {
    server: {
      listen: `127.0.0.1:${facts.port}`,
      public_url: facts.publicUrl,
      // Everybody of this world sits at one address, and a few people ask for everything.
      limits: { requests_per_hour: 10_000, sign_ins_per_minute: 10_000 },
    },
    store: facts.database ? { postgres: secret(join(secrets, 'postgres'), facts.database) } : { sqlite: join(dir, 'breakglass.db') },
    sign_in: {
      issuer: facts.issuer,
      client_id: facts.clientId,
      client_secret: secret(join(secrets, 'client-secret'), facts.clientSecret),
      person_claim: 'employee_id',
      groups_claim: 'groups',
      scopes: ['openid', 'profile', 'email', 'groups'],
    },
    teams: {
      payments: { display: 'Payments', groups: ['payments'], lead_groups: ['platform-leads'], lead_mail: ['leads@example.test'] },
      orders: { display: 'Orders', groups: ['orders'], lead_groups: ['platform-leads'], lead_mail: ['leads@example.test'] },
    },
    roles: {
      engineer: ['payments', 'orders'],
      approver: ['platform-leads'],
      revoker: ['revokers', 'platform-leads'],
      compliance: ['compliance'],
      auditor: ['auditors'],
      operator: ['operators'],
    },
    clusters: {
      [clusterName]: {
        display: 'Demo cluster',
        access: { kubeconfig: { file: facts.brokerKubeconfig } },
        engineer_server: facts.server,
        engineer_ca_file: facts.caFile,
        audit: {
          token: secret(join(secrets, 'audit-token'), facts.auditToken),
          // What runs this world; whoever else changes something without a grant is a person.
          automation: { users: ['admin', 'kwok', 'shop-sync'] },
        },
        // This API server waits one second for a batch, so a record is whole soon after its end.
        settle_window: '10s',
      },
    },
    profiles: {
      'payments-admin': {
        description: 'Change the payment service\'s workloads and configuration, open a shell in its Pods.',
        cluster_role: 'breakglass-workloads',
        clusters: [clusterName],
        namespaces: ['payments'],
        teams: ['payments'],
        durations: ['30m', '15m', '1h'],
        max_duration: '2h',
        approvals: 1,
        approvers: ['leads'],
      },
      'orders-admin': {
        description: 'Change the order service\'s workloads and configuration, open a shell in its Pods.',
        cluster_role: 'breakglass-workloads',
        clusters: [clusterName],
        namespaces: ['orders'],
        teams: ['orders', 'payments'],
        durations: ['30m', '15m', '1h'],
        max_duration: '2h',
        approvals: 2,
        approvers: ['leads'],
        step_up_window: '0s',
      },
    },
    approvers: { leads: { display: 'Platform leads', groups: ['platform-leads'], mail: ['leads@example.test'] } },
    forge: {
      kind: 'github',
      api_url: facts.forge.apiUrl,
      web_url: facts.forge.webUrl,
      credentials: { app: { id: facts.forge.appId, private_key: secret(join(secrets, 'forge-app.pem'), facts.forge.privateKeyPem) } },
      webhook_secret: secret(join(secrets, 'forge-webhook'), facts.forge.webhookSecret),
      logins: facts.forge.logins,
      repositories: {
        shop: {
          repository: facts.forge.repository,
          base_branch: 'main',
          paths: ['payments', 'orders'].map((name) => ({ path: `apps/${name}`, cluster: clusterName, default_namespace: name })),
        },
      },
    },
    notices: {
      smtp: { host: facts.mail.host, port: facts.mail.port, tls: 'none', from: 'breakglass <breakglass@example.test>' },
      compliance_mail: ['compliance@example.test'],
    },
    sla: { deadlines: { opened: '1h', merged: '24h', converged: '72h' } },
    ledger: { origin: 'breakglass.example.test/demo', signing_key: secret(join(secrets, 'ledger-key')) },
  };
  const path = join(dir, 'breakglass.yaml');
  writeWhole(path, stringify(change(config)));
  return path;
}

/** Writes the configuration at `path` once more, to `to`, with `change(config)` made to it; returns `to`. */
export function copyConfig(path, to, change) {
  const config = parse(readFileSync(path, 'utf8'));
  change(config);
  writeWhole(to, stringify(config));
  return to;
}
