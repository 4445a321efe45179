import { main } from './cli/program.ts';

void main(process.argv).then((code) => {
  process.exitCode = code;
});
