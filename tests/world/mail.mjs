// A mail server that keeps what it is given, and can misbehave.

import { SMTPServer } from 'smtp-server';
import PostalMime from 'postal-mime';

const faults = ['refuse', 'hang', 'temporary', 'permanent'];

/**
 * Starts it on 127.0.0.1. Messages: { from, to: [address], subject, text, html, headers: {name: value}, at, raw }.
 * `setFault`: refuse (hangs up at once) · hang (takes the connection and says nothing) · temporary (451 for every
 * recipient) · permanent (550) · null.
 */
export async function startMail({ port = 0 }) {
  let messages = [];
  let fault = null;
  let attempts = 0;
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    logger: false,
    onConnect(session, done) {
      attempts += 1;
      if (fault === 'hang') return;
      done(fault === 'refuse' ? Object.assign(new Error('not now'), { responseCode: 421 }) : undefined);
    },
    onRcptTo(address, session, done) {
      if (fault === 'temporary') done(Object.assign(new Error('try later'), { responseCode: 451 }));
      else if (fault === 'permanent') done(Object.assign(new Error('no such mailbox'), { responseCode: 550 }));
      else done();
    },
    onData(stream, session, done) {
      const parts = [];
      stream.on('data', (part) => parts.push(part));
      stream.on('end', () => {
        const raw = Buffer.concat(parts);
        PostalMime.parse(raw).then((parsed) => {
          messages.push({
            at: new Date().toISOString(),
            from: session.envelope.mailFrom.address,
            to: session.envelope.rcptTo.map((one) => one.address),
            subject: parsed.subject,
            text: parsed.text,
            html: parsed.html,
            headers: Object.fromEntries(parsed.headers.map(({ key, value }) => [key, value])),
            raw: raw.toString(),
          });
          done();
        }, done);
      });
    },
  });
  server.on('error', () => {}); // a client that hangs up is its own business
  await new Promise((resolve, reject) => {
    server.server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    host: '127.0.0.1',
    port: server.server.address().port,
    /** All messages so far; `to`: only those that went to this address. */
    messages: ({ to } = {}) => messages.filter((one) => !to || one.to.includes(to)),
    clear: () => { messages = []; },
    /** Connections so far, also those that got nowhere. */
    attempts: () => attempts,
    setFault(next) {
      if (next && !faults.includes(next)) throw new Error(`mail fault must be one of ${faults.join(', ')}`);
      fault = next ?? null;
    },
    stop: () => new Promise((resolve) => { server.close(resolve); }),
  };
}
