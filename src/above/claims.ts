import type { Logger } from 'pino';
import type { BelowHouse } from '../hub/front.ts';

/** Gateways that may be reached through others, all together. */
const CLAIMS_MAX = 1000;
const RECORD = 'below/claims';
const FORMAT = 1;

/**
 * Which of our children leads to which gateway: a registered one to itself, and to those beneath that it has asked for. The first
 * who asks has it, until that child is removed: one gateway, one way down.
 */
export class Claims {
  readonly #gateway: string;
  readonly #house: Pick<BelowHouse, 'registry' | 'store'>;
  readonly #log: Logger;
  /** Gateway beneath: child. */
  readonly #held = new Map<string, string>();

  /** Reads what is kept. */
  constructor(gateway: string, house: Pick<BelowHouse, 'registry' | 'store'>, log: Logger) {
    this.#gateway = gateway;
    this.#house = house;
    this.#log = log;
    try {
      const kept = JSON.parse(house.store.get(RECORD)?.toString('utf8') ?? 'null') as {
        format: number;
        held: Record<string, string>;
      } | null;
      if (kept === null) return;
      if (kept.format !== FORMAT) throw new Error(`they are of format ${kept.format}, which is not known here`);
      for (const [lower, child] of Object.entries(kept.held)) if (this.#isGateway(child)) this.#held.set(lower, child);
    } catch (error) {
      log.error({ err: error }, 'which gateways lie beneath those below us is not known: it is learnt again');
    }
  }

  /** The child through which a gateway is reached; null: it is none of ours. */
  way(lower: string): string | null {
    return this.#isGateway(lower) ? lower : (this.#held.get(lower) ?? null);
  }

  /** False: another has it, or it can be nobody's. */
  claim(child: string, lower: string): boolean {
    const way = this.way(lower);
    if (way !== null) return way === child;
    // A child that is none of those below us does not stand for a gateway of the same name.
    if (lower === this.#gateway || this.#house.registry.find(lower) !== undefined) return false;
    if (this.#held.size >= CLAIMS_MAX) {
      this.#log.warn({ child, lower }, `no more than ${CLAIMS_MAX} gateways can be reached through others`);
      return false;
    }
    this.#held.set(lower, child);
    this.#log.info({ child, lower }, 'a gateway is reached through one below us');
    this.#save();
    return true;
  }

  /** All that can be reached. */
  all(): string[] {
    const registered = this.#house.registry.all().flatMap(({ id, gateway }) => (gateway === true ? id : []));
    return [...new Set([...registered, ...this.#held.keys()])];
  }

  /** A child is no gateway of ours any more. Gives those that can no longer be reached, itself among them. */
  release(child: string): string[] {
    const lost = [...this.#held].flatMap(([lower, through]) => (through === child ? lower : []));
    for (const lower of lost) this.#held.delete(lower);
    if (lost.length > 0) this.#save();
    return [child, ...lost].filter((lower) => this.way(lower) === null);
  }

  #isGateway(id: string): boolean {
    return this.#house.registry.find(id)?.gateway === true;
  }

  /** Not waited for: whoever holds one asks for it with each connection. */
  #save(): void {
    const record = Buffer.from(JSON.stringify({ format: FORMAT, held: Object.fromEntries(this.#held) }), 'utf8');
    this.#house.store.put([[RECORD, record]]).catch((error: unknown) => {
      this.#log.error({ err: error }, 'which gateways lie beneath those below us could not be kept');
    });
  }
}
