// The steps of an emergency that many tests share.

/** Files, approves and reveals; returns the request, the grant and the file with its key. */
export async function lent({ engineer, approver, dir }, options) {
  const request = await engineer.ask(options);
  await approver.approve(request);
  const grant = await engineer.grantOf(request);
  return { request, grant, key: await engineer.key(grant, dir) };
}

/** The engineer is done; returns when the access is proved dead. */
export async function ended(engineer, grant) {
  await engineer.open(`/grants/${grant}`);
  await engineer.press(`/grants/${grant}/done`);
  await engineer.sees(`/grants/${grant}`, /This access is dead/, 60_000);
}
