import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { LowerEventSaid, LowerWordSaid, Place } from '../dialects/child-dialect.ts';
import { PREFIX } from '../dialects/holdfast.ts';
import { holdfastUpstream } from '../dialects/holdfast-upstream.ts';
import type { DownPublication, Subscription } from '../dialects/upstream-dialect.ts';
import type { BelowHouse } from '../hub/front.ts';
import type { Below } from '../hub/services.ts';
import type { Reading, Source } from '../message/message.ts';
import { Claims } from './claims.ts';
import { Downward } from './downward.ts';
import { HopMarks } from './hop-marks.ts';
import type { Line } from './liaison.ts';
import type { Rejection } from './rejections.ts';
import { Upward } from './upward.ts';

/** How often it is looked for gateways that were registered meanwhile, ms. */
const LOOK_MS = 10_000;
/** Filters that are asked for at once. */
const FILTERS_MAX = 200;

export interface RelayOptions {
  readonly config: {
    readonly gateway: { readonly id: string };
    /** No other dialect than `holdfast` has words for what gateways below say, and hear. */
    readonly upstream?: { readonly dialect: string } | undefined;
  };
  readonly spool: {
    /** What {@link accept} refuses for want of room is counted when it returns. */
    readonly books: { readonly ledger: { readonly refused: { readonly rejected?: number } } };
    /** Resolves when all that was taken on by now is on the medium. */
    kept(senderWaits: boolean): Promise<void>;
  };
  /** Gives a message to the router. Takes its place in order at the call, and rejects when there is no room. */
  readonly accept: (source: Source, content: Omit<Reading, 'measuredAt' | 'output'>, hops: number) => Promise<void>;
  /** Throws while there will be a hub and it is not known who may connect. */
  readonly mustBeKnown: () => unknown;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How it is with gateways below us, for `status`. */
export interface BelowStatus {
  /** All that can be reached, those beneath others included. */
  readonly gateways: number;
  /** Messages that had been taken before, since the start. */
  readonly repeats: number;
  /** Their loss reports that wait for above. */
  readonly lossReports: number;
}

/**
 * Stands between gateways below us and above. Their messages go through the router and the spool like all others, each once; what they
 * say of themselves goes up as it stands, and what is for them goes down.
 */
export class Relay implements Below {
  readonly marks: HopMarks;
  readonly #options: RelayOptions;
  readonly #upward: Upward;
  #claims: Claims | null = null;
  #downward: Downward | null = null;
  #line: Line | null = null;
  /** Gateways that above was asked about over this connection; null: nothing was asked for yet. */
  #asked: Set<string> | null = null;
  /** By gateway and lane: no later message is taken before this one has been. */
  readonly #barred = new Map<string, Place>();
  #looking: Timer | null = null;
  #unhear: () => void = () => undefined;
  #repeats = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.marks = new HopMarks(options.log);
    this.#upward = new Upward(options.clock, options.log);
  }

  /** There is a hub; called again when it had to be made anew. */
  open(house: BelowHouse): void {
    const { config, clock, log } = this.#options;
    const claims = new Claims(config.gateway.id, house, log);
    this.#claims = claims;
    this.#downward?.stop();
    this.#downward = new Downward({
      house,
      clock,
      log,
      way: (lower) => claims.way(lower),
      answer: (publication) => this.#line?.publish(publication),
    });
    this.#upward.open(house.store);
    this.#unhear();
    const { registry } = house;
    const changed = registry.onRevoked((child, module) => {
      const found = registry.find(child);
      // Who is removed is gone once that is durable.
      if (module === null && found !== undefined && found.gateway !== true) this.#gone(child);
    });
    const removed = registry.onRemoved((child, module) => {
      if (module === null) this.#gone(child);
    });
    this.#unhear = () => {
      changed();
      removed();
    };
    this.#looking ??= clock.every(LOOK_MS, () => this.#look());
  }

  stop(): void {
    this.#looking?.cancel();
    this.#unhear();
    this.#downward?.stop();
    this.#upward.lost();
  }

  status(): BelowStatus {
    return {
      gateways: this.#claims?.all().length ?? 0,
      repeats: this.#repeats,
      lossReports: this.#upward.waiting,
    };
  }

  owns(child: string, gateway: string): boolean {
    return this.#claims?.way(gateway) === child;
  }

  claim(child: string, gateway: string): boolean {
    const may = this.#claims?.claim(child, gateway) ?? false;
    if (may) this.#look();
    return may;
  }

  event({ kind: _, gateway, source, place, id, hops, ...content }: LowerEventSaid): Promise<void> {
    const accept = () => this.#options.accept(source, content, hops + 1);
    if (place === null) return accept();
    const lane = `${gateway} ${place.lane}`;
    const barred = this.#barred.get(lane);
    if (barred !== undefined && (barred.epoch !== place.epoch || barred.seq !== place.seq))
      return Promise.reject(noRoom('one before it found no room'));
    if (this.marks.knows(gateway, place, id)) {
      this.#repeats++;
      // The first of it may still be on its way to the medium.
      return this.#options.spool.kept(true);
    }
    const undo = this.marks.take(gateway, place, id);
    const before = this.#refusals;
    const durable = accept();
    if (this.#refusals === before) this.#barred.delete(lane);
    else {
      undo();
      // Those behind it would make it look like one that was taken.
      this.#barred.set(lane, place);
    }
    return durable;
  }

  async word(said: LowerWordSaid): Promise<void> {
    if (this.#speaksUp) await this.#upward.take(said);
    else {
      const { log } = this.#options;
      const { gateway, what, publication } = said;
      if (what === 'losses')
        log.warn({ gateway, report: publication.body.toString() }, 'a loss that above cannot be told of');
      else log.debug({ gateway, what }, 'above has no words for this');
    }
  }

  came(child: string): void {
    // It sends again from the first that it has no acknowledgement of.
    for (const lane of this.#barred.keys()) if (lane.startsWith(`${child} `)) this.#barred.delete(lane);
    this.#downward?.came(child);
    this.#look();
  }

  subscribed(child: string, filter: string): void {
    this.#downward?.subscribed(child, filter);
  }

  /** What above is asked for on behalf of gateways below us, with a connection that has come about. */
  subscriptions(): readonly Subscription[] {
    if (!this.#speaksUp) return [];
    this.#asked ??= new Set(this.#claims?.all());
    return together([...this.#asked].flatMap((gateway) => holdfastUpstream(gateway).subscriptions()));
  }

  connected(line: Line, kept: boolean): void {
    this.#line = line;
    this.#upward.connected(line, kept);
    this.#look();
  }

  lost(): void {
    this.#line = null;
    this.#asked = null;
    this.#upward.lost();
  }

  /** Something from above for a gateway below us. Resolves when it need not come again, rejects when it should: {@link Downward.receive}. */
  async receive(gateway: string, publication: DownPublication): Promise<Rejection | null> {
    if (this.#downward === null) this.#options.mustBeKnown();
    return (await this.#downward?.receive(gateway, publication)) ?? null;
  }

  get #speaksUp(): boolean {
    return this.#options.config.upstream?.dialect === 'holdfast';
  }

  get #refusals(): number {
    return this.#options.spool.books.ledger.refused.rejected ?? 0;
  }

  /** Asks above about those that have come since. */
  #look(): void {
    const line = this.#line;
    if (line === null || this.#asked === null) return;
    for (const gateway of this.#claims?.all() ?? []) {
      if (this.#asked.has(gateway)) continue;
      this.#asked.add(gateway);
      for (const { filters, qos } of together(holdfastUpstream(gateway).subscriptions())) {
        line.subscribe(filters, qos).catch((error: unknown) => {
          if (this.#line === line)
            this.#options.log.warn(
              { gateway, filters },
              `what is for it is not ours to hear: ${(error as Error).message}`,
            );
        });
      }
    }
  }

  #gone(child: string): void {
    const lost = this.#claims?.release(child) ?? [];
    // What is kept of them goes: added anew, they are asked for anew.
    for (const gateway of lost) this.#asked?.delete(gateway);
    this.marks.forget(child);
    const isIts = (topic: string) => lost.some((gateway) => topic.startsWith(`${PREFIX}/${gateway}/`));
    const forgotten = Promise.all([this.#downward?.forget(isIts) ?? Promise.resolve(), this.#upward.forget(isIts)]);
    forgotten.catch((error: unknown) =>
      this.#options.log.error({ err: error, child }, 'what was kept for a gateway stays'),
    );
  }
}

/** The same in fewer subscriptions. */
function together(subscriptions: readonly Subscription[]): readonly Subscription[] {
  const joined: Subscription[] = [];
  for (const subscription of subscriptions) {
    const { stage, qos, filters } = subscription;
    const fits = (each: Subscription) =>
      each.stage === stage && each.qos === qos && each.filters.length + filters.length <= FILTERS_MAX;
    const at = joined.findIndex(fits);
    if (at < 0) joined.push(subscription);
    else joined[at] = { stage, qos, filters: [...joined[at]!.filters, ...filters] };
  }
  return joined;
}

function noRoom(why: string): Error {
  return Object.assign(new Error(why), { reason: 'rejected' });
}
