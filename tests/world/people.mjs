// The people of the test world. `id` is the subject the provider signs; `employee` is the stable
// person behind it, which two accounts may share.

const person = (id, label, note, claims) => ({
  id,
  label,
  note,
  claims: {
    name: label,
    email: `${id}@example.test`,
    email_verified: true,
    preferred_username: id,
    forge_login: id,
    ...claims,
  },
});

export const people = [
  person('oncall', 'On-call engineer', 'team payments', { groups: ['payments'], employee_id: 'E1001' }),
  person('second', 'Second engineer', 'team orders', { groups: ['orders'], employee_id: 'E1002' }),
  person('approver', 'First approver', 'platform leads', { groups: ['platform-leads'], employee_id: 'E2001' }),
  person('approver2', 'Second approver', 'platform leads', { groups: ['platform-leads'], employee_id: 'E2002' }),
  person('compliance', 'Compliance', 'reads the feed, reviews', { groups: ['compliance'], employee_id: 'E3001' }),
  person('auditor', 'Auditor', 'reads the ledger', { groups: ['auditors'], employee_id: 'E4001' }),
  person('operator', 'Operator', 'runs the broker, may revoke', { groups: ['operators', 'revokers'], employee_id: 'E5001' }),
];

// People whom only tests need: each holds one role, or shares a team, so that a right shows whose it is. They
// have no button on the sign-in's page; a form with their id signs them in.
export const unlisted = [
  person('colleague', 'Engineer in the same team', 'team payments', { groups: ['payments'], employee_id: 'E1003' }),
  person('revoker', 'Revoker', 'may end any access', { groups: ['revokers'], employee_id: 'E5002' }),
  person('runner', 'Operator alone', 'runs the broker', { groups: ['operators'], employee_id: 'E5003' }),
];

// Accounts that a broker has to refuse, or has to see through.
export const awkward = [
  person('oncall-lead', 'On-call engineer, second account', 'the same employee, in platform leads', {
    groups: ['platform-leads'],
    employee_id: 'E1001',
  }),
  person('same-mail', 'Approver with the on-call engineer\'s e-mail', 'another employee id', {
    groups: ['platform-leads'],
    employee_id: 'E9001',
    email: 'ONCALL@example.test',
  }),
  person('many-groups', 'Member of too many groups', 'the provider leaves the groups out', {
    employee_id: 'E9002',
    _claim_names: { groups: 'src1' },
    _claim_sources: { src1: { endpoint: 'https://directory.example.test/groups' } },
  }),
  person('no-employee', 'Account without an employee id', 'a shared or service account', { groups: ['payments'] }),
  person('no-groups', 'Member of nothing', 'no team, no role', { groups: [], employee_id: 'E9003' }),
];
