// send.mjs HOST PORT FILE: see ../README.md. One message at a time, each after the answer to the one before.
import { readFileSync } from 'node:fs';
import { Hl7Message } from '@medplum/core';
import { Hl7Client } from '@medplum/hl7';

const ANSWER_MS_MAX = 30_000;
const [host, port, file] = process.argv.slice(2);
const client = new Hl7Client({ host, port: Number(port), keepAlive: true });
let failed = false;
for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
  const message = Hl7Message.parse(JSON.parse(line));
  const control_id = message.header.getComponent(10, 1);
  let code = null;
  let answers = null;
  try {
    const answer = await client.sendAndWait(message, { timeoutMs: ANSWER_MS_MAX });
    code = answer.getSegment('MSA')?.getComponent(1, 1) ?? null;
    answers = answer.getSegment('MSA')?.getComponent(2, 1) ?? null;
  } catch (error) {
    console.error(String(error));
    failed = true;
  }
  console.log(JSON.stringify({ control_id, code, answers }));
}
await client.close();
process.exit(failed ? 1 : 0);
