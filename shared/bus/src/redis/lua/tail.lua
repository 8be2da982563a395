-- Where a room ends.
-- KEYS 1 stream, 2 meta; ARGV 1 epoch of a new room, 2 ms the meta lives
-- Answers {epoch, seq of the last event ever, its check, events held}
local room = redis.call('HMGET', KEYS[2], 'e', 's', 'c')
if not room[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', ARGV[1], 'i', ARGV[1], 's', '0', 'c', '00000000', 'b', '0')
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return {ARGV[1], '0', '00000000', 0}
end
if redis.call('PTTL', KEYS[2]) * 2 < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return {room[1], room[2], room[3] or '00000000', redis.call('XLEN', KEYS[1])}
