// receive.mjs PORT: see ../README.md.
import { Hl7Server } from '@medplum/hl7';

const server = new Hl7Server((connection) => {
  connection.addEventListener('message', ({ message }) => {
    console.log(
      JSON.stringify({ control_id: message.header.getComponent(10, 1), segments: message.segments.length })
    );
    connection.send(message.buildAck());
  });
});
server.start(Number(process.argv[2]));
console.log(JSON.stringify({ listening: true }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
