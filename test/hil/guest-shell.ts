import type { Socket } from 'node:net';
import { WAIT_MS_MAX } from '../parts/until.ts';

/** The root shell that the machine's /init holds open at a virtio port. One line at a time; the next waits for it. */
export class GuestShell {
  readonly #port: Socket;
  #heard = '';
  #before: Promise<unknown> = Promise.resolve();

  constructor(port: Socket) {
    this.#port = port;
    port.setEncoding('utf8');
    port.on('data', (text: string) => (this.#heard += text));
  }

  /** Resolves with what the line put out on both streams, rejects when it failed, was not done in `msMax`, or the machine ended. */
  run(line: string, msMax: number = WAIT_MS_MAX): Promise<string> {
    const done = this.#before.then(() => this.#run(line, msMax));
    this.#before = done.catch(() => {});
    return done;
  }

  #run(line: string, msMax: number): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#heard = '';
      const settle = (act: () => void): void => {
        clearTimeout(late);
        this.#port.off('data', hear);
        this.#port.off('close', ended);
        act();
      };
      const hear = (): void => {
        const end = /<end (\d+)>\n$/.exec(this.#heard);
        if (end === null) return;
        const said = this.#heard.slice(0, end.index);
        settle(() => {
          if (end[1] === '0') resolve(said);
          else reject(new Error(`'${line}' ended with ${end[1]}: ${said}`));
        });
      };
      const ended = (): void => settle(() => reject(new Error(`the machine ended before '${line}'`)));
      const late = setTimeout(
        () => settle(() => reject(new Error(`'${line}' took more than ${msMax} ms; so far: ${this.#heard}`))),
        msMax,
      );
      this.#port.on('data', hear);
      this.#port.on('close', ended);
      this.#port.write(`(${line}\n) </dev/null 2>&1; echo "<end $?>"\n`);
    });
  }
}
