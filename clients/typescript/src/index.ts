/** `@weft/client`: follow executions live; resumes on any gateway, each event once and in order. */
export type { State } from './core/connection.js';
export type * from './core/event.js';
export { Execution, Follow, type FollowOptions, type Heard, type Notices } from './core/follow.js';
export type { Options, Times, Transport } from './core/options.js';
export { emptySnapshot, fold, isTerminal, type NodeState, type Snapshot } from './core/snapshot.js';
export { comeBack, LATER, WeftError } from './core/told.js';
export { type ClientNotices, connect, Weft } from './core/weft.js';
export type { Outcome } from './core/wire.js';
