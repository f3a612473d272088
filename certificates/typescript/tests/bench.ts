// Certificates per second: `npm run bench`.

import { verify } from "../src/index.js";
import { trustOf, unhex, vector } from "./testdata.js";

const MEASURE_MS = 1000;

/** Runs `work` with so many at once, and gives how often it ran a second. */
async function perSecond(atOnce: number, work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let done = 0;
  const worker = async (): Promise<void> => {
    for (; performance.now() - start < MEASURE_MS; done++) await work();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return Math.round((done * 1000) / (performance.now() - start));
}

for (const name of ["members-4", "members-7", "members-31", "plurality-agreed"]) {
  const known = vector(name);
  const [bytes, trust] = [unhex(known.certificate), await trustOf(known)];
  await verify(bytes, trust);
  const [one, eight] = [await perSecond(1, () => verify(bytes, trust)), await perSecond(8, () => verify(bytes, trust))];
  console.log(
    `${name.padEnd(18)}${String(bytes.length).padStart(6)} bytes  ${one} certificates/s one by one, ${eight} eight at once`,
  );
}
