/** Events as an executor publishes them. */
export const event = (executionId, type, data = {}, rest = {}) => ({ type, executionId, ...rest, data });
export const node = (executionId, id, name, data) => event(executionId, `node:${name}`, data, { nodeId: id });
export const line = (executionId, message, rest) => event(executionId, 'log', { level: 'info', message }, rest);
export const token = (executionId, agentId, index) =>
  event(executionId, 'agent:token', { agentId, token: `${index} `, index }, { agentId });

export const lines = (word, from, to) => Array.from({ length: to - from + 1 }, (_, n) => `${word} ${from + n}`);
