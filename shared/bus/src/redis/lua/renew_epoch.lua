-- Gives a room a new epoch unless somebody already has; its events stay, under the new epoch.
-- KEYS 1 stream, 2 meta; ARGV 1 the new epoch, 2 ms the meta lives, 3 the old epoch
-- Answers the epoch in force
local epoch = redis.call('HGET', KEYS[2], 'e')
if not epoch then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', ARGV[1], 'i', ARGV[1], 's', '0', 'c', '00000000', 'b', '0')
elseif epoch == ARGV[3] then
  redis.call('HSET', KEYS[2], 'e', ARGV[1])
else
  return epoch
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return ARGV[1]
