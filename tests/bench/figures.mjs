// How a figure is printed: name value goal<op>number reached|missed.

const ops = { '<=': (a, b) => a <= b, '>=': (a, b) => a >= b, '<': (a, b) => a < b, '>': (a, b) => a > b };

/** Prints each `{figure, value, goal}` on a line of its own; returns how many missed their goal. */
export function printed(figures) {
  let missed = 0;
  for (const { figure, value, goal } of figures) {
    const [, op, number] = /^(<=|>=|<|>)([\d.]+)$/.exec(goal);
    const reached = ops[op](value, Number(number));
    if (!reached) missed += 1;
    console.log(`${figure} ${Number(value.toFixed(3))} goal${goal} ${reached ? 'reached' : 'missed'}`);
  }
  return missed;
}
