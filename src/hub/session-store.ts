/** Small records under short names, encrypted and durable, that the hub keeps its sessions in. */
export interface Store {
  get(name: string): Buffer | null;
  /** All or nothing; durable when it resolves. A null deletes. */
  put(changes: readonly (readonly [name: string, value: Buffer | null])[]): Promise<void>;
  /** In order. */
  names(prefix: string): readonly string[];
}
