-- Takes, keeps, renews or gives up the registration of a served address.
-- KEYS 1 registration; ARGV 1 who, 2 ms it lives, 3 'take', 'renew' or 'drop'
local holder = redis.call('GET', KEYS[1])
if ARGV[3] == 'drop' then
  if holder == ARGV[1] then redis.call('DEL', KEYS[1]) end
elseif ARGV[3] == 'take' or not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
