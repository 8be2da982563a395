-- Stores a head if it is what the caller expects.
-- KEYS 1 head; ARGV 1 revision expected or '' for none, 2 the record, 3 ms it lives
-- Answers the new revision, or '' if somebody else wrote it
local revision = redis.call('HGET', KEYS[1], 'r')
if (revision or '') ~= ARGV[1] then return '' end
-- Begins at the time, so that no revision returns after the record has expired and been made again.
local time = redis.call('TIME')
local next = string.format('%.0f', revision and (tonumber(revision) + 1) or (time[1] * 1000000 + time[2]))
redis.call('HSET', KEYS[1], 'r', next, 'v', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return next
