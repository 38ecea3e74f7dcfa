// A small certificate authority for one world: servers, and people who sign in to the cluster by certificate.

import { existsSync, readFileSync, writeFileSync, renameSync, mkdirSync } from 'node:fs';
import { randomBytes, webcrypto } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata'; // @peculiar/x509 asks for it to be loaded first
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const years = (n) => new Date(Date.now() + n * 365 * 86_400_000);
const pem = (label, bytes) => `-----BEGIN ${label}-----\n${Buffer.from(bytes).toString('base64').replace(/(.{64})(?!$)/g, '$1\n')}\n-----END ${label}-----\n`;
const keyPem = async (key) => pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', key));
const serial = () => `00${randomBytes(12).toString('hex')}`;

/** Writes a file so that a reader sees the old one or the whole new one. */
export function writeWhole(path, text, mode = 0o600) {
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}

/** The authority kept in `dir`, made on first use. */
export async function authority(dir) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const caFile = join(dir, 'ca.crt');
  const caKeyFile = join(dir, 'ca.key');
  if (!existsSync(caFile)) {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: 'CN=breakglass test world',
      notBefore: years(-0.01),
      notAfter: years(10),
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    writeWhole(caKeyFile, await keyPem(keys.privateKey));
    writeWhole(caFile, `${certificate.toString('pem')}\n`);
  }
  const ca = new x509.X509Certificate(readFileSync(caFile, 'utf8'));
  const caKey = await webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(readFileSync(caKeyFile, 'utf8')),
    algorithm, false, ['sign']);

  async function issue(name, subject, usages, alternative) {
    const files = { certFile: join(dir, `${name}.crt`), keyFile: join(dir, `${name}.key`) };
    if (existsSync(files.certFile) && existsSync(files.keyFile)) return files;
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: ca.subject,
      notBefore: years(-0.01),
      notAfter: years(10),
      signingKey: caKey,
      publicKey: keys.publicKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(usages),
        await x509.AuthorityKeyIdentifierExtension.create(ca),
        ...(alternative.length ? [new x509.SubjectAlternativeNameExtension(alternative)] : []),
      ],
    });
    writeWhole(files.keyFile, await keyPem(keys.privateKey));
    writeWhole(files.certFile, `${certificate.toString('pem')}\n`);
    return files;
  }

  return {
    caFile,
    /** A server certificate for this machine under `name`, kept; also good as a client's where `both`. */
    server(name, { both = false, dns = [] } = {}) {
      const addresses = Object.values(networkInterfaces()).flat().filter((one) => one.family === 'IPv4').map((one) => one.address);
      return issue(name, `CN=${name}`, [x509.ExtendedKeyUsage.serverAuth, ...(both ? [x509.ExtendedKeyUsage.clientAuth] : [])], [
        ...['localhost', ...dns].map((value) => ({ type: 'dns', value })),
        ...[...new Set(['127.0.0.1', '10.0.0.1', ...addresses])].map((value) => ({ type: 'ip', value })),
      ]);
    },
    /** A client certificate: `user` and `groups` as Kubernetes reads them (CN and O). */
    client(name, user, groups = []) {
      return issue(name, [{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))], [x509.ExtendedKeyUsage.clientAuth], []);
    },
  };
}
