/** Something cannot be done; the message is for people, says why, and what to do where there is something to do. */
export class FleetError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FleetError';
  }
}
