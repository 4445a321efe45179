declare const __HOLDFAST_VERSION__: string | undefined;

/** This program's version; put in by the build, `0.0.0-source` when it runs from its sources. */
export const VERSION: string = typeof __HOLDFAST_VERSION__ === 'undefined' ? '0.0.0-source' : __HOLDFAST_VERSION__;
