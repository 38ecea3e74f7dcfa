// Milliseconds from the API server's answer to a request until its audit event leaves the tap: the floor under
// everything that waits for audit.

import { startWorld } from '../world/world.mjs';
import { until } from '../world/children.mjs';

export async function auditDelay(dir) {
  const world = await startWorld({ dir, worldOnly: true });
  try {
    const delays = [];
    for (let n = 0; n < 20; n += 1) {
      const name = `delay-${n}`;
      await world.cluster.kubectl(['get', 'configmap', name], { anyStatus: true });
      const event = await until(name, () => world.tap.events((one) => one.objectRef?.name === name && one.stage === 'ResponseComplete')[0], { every: 10 });
      delays.push(Date.now() - Date.parse(event.stageTimestamp));
    }
    delays.sort((a, b) => a - b);
    return [
      { figure: 'audit-delay-median-ms', value: delays[10], goal: '<=1000' },
      { figure: 'audit-delay-worst-ms', value: delays[19], goal: '<=2000' },
    ];
  } finally {
    await world.stop();
  }
}
