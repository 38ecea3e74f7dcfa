// The pages of the test sign-in: plain HTML and one stylesheet, no script, so that they work in any
// browser under a policy that allows nothing else.

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (value) => String(value).replace(/[&<>"']/g, (char) => escapes[char]);

export const stylesheet = `
:root { color-scheme: light dark; --paper: light-dark(#fbfaf8, #14161a); --card: light-dark(#fff, #1b1e24);
  --line: light-dark(#8b8f97, #6b7280); --ink: light-dark(#1c1e22, #e8e6e1); --soft: light-dark(#5d6168, #a2a7b0);
  --link: light-dark(#1a56b8, #8ab4ff); font: 16px/1.5 system-ui, sans-serif; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); }
main { max-width: 30rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
p { margin: 0 0 1rem; }
.soft, summary { color: var(--soft); }
form { display: grid; gap: .5rem; }
details { margin-top: 1rem; } summary { cursor: pointer; padding: .5rem 0; }
details > div { display: grid; gap: .5rem; }
button { font: inherit; text-align: start; display: flex; flex-wrap: wrap; gap: 0 .75rem; justify-content: space-between;
  align-items: baseline; min-height: 2.75rem; padding: .6rem 1rem; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; cursor: pointer; }
button:hover { border-color: var(--ink); }
button b { font-weight: 600; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 8px; }
`;

const page = (title, body) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title><link rel="stylesheet" href="/signin.css"></head>
<body><main>${body}</main></body></html>
`;

const choice = ({ id, label, note }) =>
  `<button type="submit" name="person" value="${escape(id)}"><b>${escape(label)}</b> <span class="soft">${escape(note)}</span></button>`;

/** One button a person; `again` says that a fresh sign-in was asked for. */
export function loginPage({ action, client, again, people, awkward }) {
  const why = again
    ? `${client} asks you to sign in again, to be sure that it is you.`
    : `Sign in to ${client}. This is a test sign-in: choose who you are.`;
  return page('Sign in', `
<h1>Who are you?</h1><p class="soft">${escape(why)}</p>
<form method="post" action="${escape(action)}">
${people.map(choice).join('\n')}
${awkward.length ? `<details><summary>Accounts that should be refused</summary><div>${awkward.map(choice).join('\n')}</div></details>` : ''}
</form>`);
}

/** Asks before ending the session; `form` is the provider's own, with its one-time value. */
export const logoutPage = (form) => page('Sign out', `
<h1>Sign out here too?</h1><p class="soft">You will have to choose again who you are.</p>
${form}<form><button type="submit" form="op.logoutForm" name="logout" value="yes"><b>Sign out</b></button></form>`);

export const signedOutPage = () => page('Signed out', '<h1>You are signed out.</h1>');

export const errorPage = (error, description) => page('Sign-in failed', `
<h1>That did not work.</h1><p>${escape(description ?? error)}</p><p class="soft">${escape(error)}. Go back to where you came from and start again.</p>`);
