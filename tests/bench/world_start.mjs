// Seconds from nothing, and from kept data, to a world with the shop in it.

import { startWorld } from '../world/world.mjs';

async function seconds(dir) {
  const begun = performance.now();
  const world = await startWorld({ dir, worldOnly: true });
  const took = (performance.now() - begun) / 1000;
  await world.stop();
  return took;
}

export async function worldStart(dir) {
  return [
    { figure: 'world-start-fresh-s', value: await seconds(dir), goal: '<=30' },
    { figure: 'world-start-kept-s', value: await seconds(dir), goal: '<=20' },
  ];
}
