import { writeSync } from 'node:fs';
import type { LogRing } from '../health/log-ring.ts';
import { frame, type FrameContent, type Told } from './demo-frame.ts';
import { Painter } from './demo-paint.ts';
import type { Stage } from './demo-stage.ts';
import { timeOfDay } from './demo-text.ts';

const FRAME_EVERY_MS = 250;
const FRAMES_PER_SAMPLE = 2;
const TOLD_MAX = 50;
const PENDING_HISTORY_MAX = 120;
/** For a terminal that does not say how large it is. */
const WIDTH_DEFAULT = 80;
const HEIGHT_DEFAULT = 24;

// Alternate screen, no cursor, no wrapping at the edge (xterm's control sequences, DECSET 1049, 25, 7); and all of it back.
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const REST_OF_LINE = '\x1b[K';
const REST_OF_SCREEN = '\x1b[J';

export interface Keys {
  readonly onNetwork: () => void;
  readonly onReset: () => void;
  readonly onQuit: () => void;
}

/** The live view. Takes the terminal at {@link start} and gives it back at {@link stop}, and also when the process breaks down. */
export class TerminalView {
  readonly #stage: Stage;
  readonly #keys: Keys;
  readonly #folder: string;
  readonly #painter: Painter;
  readonly #happened: Told[] = [];
  readonly #log: (Told & { warning: boolean })[] = [];
  readonly #pendingHistory: number[] = [];
  readonly #leave = () => this.#restore();
  readonly #redraw = () => this.#draw();
  readonly #typed = (bytes: Buffer) => this.#type(bytes.toString('latin1'));
  #timer: NodeJS.Timeout | null = null;
  #frames = 0;
  #taken = false;

  constructor(stage: Stage, ring: LogRing, keys: Keys, folder: string) {
    this.#stage = stage;
    this.#keys = keys;
    this.#folder = folder;
    this.#painter = new Painter(process.stdout.hasColors(), process.env['TERM'] === 'linux');
    ring.follow(({ time, level, child, message }) => {
      const text = child === undefined ? message : `${child}: ${message}`;
      this.#log.push({ at: timeOfDay(time), text, warning: level !== 'info' });
      if (this.#log.length > TOLD_MAX) this.#log.shift();
    });
  }

  start(): void {
    this.#taken = true;
    process.once('exit', this.#leave);
    // Before Node prints what went wrong, so that it can be read.
    process.once('uncaughtExceptionMonitor', this.#leave);
    process.stdout.on('resize', this.#redraw);
    process.stdout.write(ENTER);
    if (process.stdin.isTTY) {
      process.stdin.setRawMode(true);
      process.stdin.on('data', this.#typed);
      process.stdin.resume();
    }
    this.#timer = setInterval(this.#redraw, FRAME_EVERY_MS);
    this.#draw();
  }

  happened(text: string): void {
    this.#happened.push({ at: timeOfDay(Date.now()), text });
    if (this.#happened.length > TOLD_MAX) this.#happened.shift();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    process.stdout.off('resize', this.#redraw);
    process.off('exit', this.#leave);
    process.off('uncaughtExceptionMonitor', this.#leave);
    this.#restore();
  }

  #restore(): void {
    if (!this.#taken) return;
    this.#taken = false;
    try {
      if (process.stdin.isTTY) {
        process.stdin.off('data', this.#typed);
        process.stdin.setRawMode(false);
        process.stdin.pause();
      }
      writeSync(process.stdout.fd, LEAVE);
    } catch {
      // The terminal is gone: there is nothing to give back.
    }
  }

  #type(typed: string): void {
    for (const key of typed) {
      if (key === 'o') this.#keys.onNetwork();
      else if (key === 'r') this.#keys.onReset();
      else if (key === 'q' || key === '\x03') this.#keys.onQuit();
    }
    this.#draw();
  }

  #draw(): void {
    // A terminal that does not keep up (a slow link) gets fewer pictures, not a queue of old ones.
    if (!this.#taken || process.stdout.writableNeedDrain) return;
    const width = process.stdout.columns || WIDTH_DEFAULT;
    const height = process.stdout.rows || HEIGHT_DEFAULT;
    const lines = frame(this.#content(), width, height, this.#painter);
    process.stdout.write(HOME + lines.map((line) => line + REST_OF_LINE).join('\r\n') + REST_OF_SCREEN);
  }

  #content(): FrameContent {
    const scene = this.#stage.scene();
    if (this.#frames++ % FRAMES_PER_SAMPLE === 0) this.#pendingHistory.push(scene.pending);
    if (this.#pendingHistory.length > PENDING_HISTORY_MAX) this.#pendingHistory.shift();
    return {
      scene,
      pendingHistory: this.#pendingHistory,
      happened: this.#happened,
      log: this.#log,
      keys: process.stdin.isTTY,
      folder: this.#folder,
    };
  }
}
