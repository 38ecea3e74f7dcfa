// Reading a request's body, bounded.
import { Refusal } from './pulls.mjs';

const MAX_BODY = 8 * 1024 * 1024;

/** The whole body as text; refuses one over 8 MiB. */
export async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Refusal(413, 'Payload too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
