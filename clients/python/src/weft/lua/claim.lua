-- Records an owner if there is none, and has the record live on.
-- KEYS 1 the record; ARGV 1 the record to be made, 2 ms it lives
-- Answers the record in force
local held = redis.call('GET', KEYS[1]) or ARGV[1]
redis.call('SET', KEYS[1], held, 'PX', ARGV[2])
return held
