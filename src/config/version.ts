declare const __HOLDFAST_VERSION__: string | undefined;
declare const __HOLDFAST_BUILT_AT__: string | undefined;

/** This program's version; put in by the build, `0.0.0-source` when it runs from its sources. */
export const VERSION: string = typeof __HOLDFAST_VERSION__ === 'undefined' ? '0.0.0-source' : __HOLDFAST_VERSION__;

/** When it was built, ms since 1970: a time that has certainly passed. Undefined when it runs from its sources. */
export const BUILT_AT: number | undefined =
  typeof __HOLDFAST_BUILT_AT__ === 'undefined' ? undefined : Date.parse(__HOLDFAST_BUILT_AT__);
