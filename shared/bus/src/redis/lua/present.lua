-- Lists live announcements, after forgetting expired ones and the one that is withdrawn.
-- KEYS 1 by expiry, 2 values; ARGV 1 an id to withdraw, or ''
-- Answers id, value, id, value, …
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)
if ARGV[1] ~= '' then gone[#gone + 1] = ARGV[1] end
for _, id in ipairs(gone) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return redis.call('HGETALL', KEYS[2])
