-- Reads a room's events from one on, that one included where it is held.
-- KEYS 1 stream, 2 meta
-- ARGV 1 epoch of a new room, 2 ms the meta lives, 3 oldest in ms, 4 seq of the anchor (0: from the start),
--      5 most events, 6 most bytes
-- Answers {epoch, seq of the last event ever, its check, seq of the oldest held or 0, check of the anchor or '',
--      1 if more follow, entries}
local stream, meta = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local expired = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[3])
local room = redis.call('HMGET', meta, 'e', 's', 'c')
if not room[1] then
  redis.call('DEL', stream)
  redis.call('HSET', meta, 'e', ARGV[1], 'i', ARGV[1], 's', '0', 'c', '00000000', 'b', '0')
  redis.call('PEXPIRE', meta, ARGV[2])
  return {ARGV[1], '0', '00000000', '0', '', 0, {}}
end
-- A room that is read is wanted: its epoch must not expire under its readers.
if redis.call('PTTL', meta) * 2 < tonumber(ARGV[2]) then redis.call('PEXPIRE', meta, ARGV[2]) end

local anchor, most_events, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local from, anchor_check, oldest = ARGV[4] .. '-0', '', '0'
local found, bytes, more, done = {}, 0, 0, false
if anchor == 0 then from = '-' end
-- A time that lies before the retention's: such entries wait for the next publication to be taken.
local function held(entry) return tonumber(entry[2][4]) >= expired end
local function seq(entry) return entry[1]:match('^(%d+)') end
repeat
  local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', 32)
  for _, entry in ipairs(entries) do
    if not held(entry) then
      -- skipped, as if it were gone
    elseif tonumber(seq(entry)) == anchor then
      anchor_check = entry[2][6]
    elseif #found > 0 and (#found >= most_events or bytes + #entry[2][2] > most_bytes) then
      more, done = 1, true
      break
    else
      found[#found + 1] = entry
      bytes = bytes + #entry[2][2]
    end
  end
  if #entries < 32 then done = true else from = '(' .. entries[#entries][1] end
until done

if anchor_check ~= '' or #found == 0 then
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if first and held(first) then oldest = seq(first) end
end
if oldest == '0' and found[1] then oldest = seq(found[1]) end
return {room[1], room[2], room[3] or '00000000', oldest, anchor_check, more, found}
