/** What a page is given in its address: where its back end is, and which execution to show. */
const query = new URLSearchParams(location.search);

/** `http://host:port` of the back end; the one thing that changes when it moves. */
export const gateway = query.get('gateway') ?? 'http://127.0.0.1:3001';
export const execution = query.get('execution') ?? 'hello';
/** Whose channel to follow besides, where a page can. */
export const user = query.get('user');

/** The same place for WebSockets. */
export const webSockets = gateway.replace(/^http/, 'ws');
