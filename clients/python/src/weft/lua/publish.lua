-- Stores events in one room, in order, and publishes each: all of them or none.
-- KEYS 1 stream, 2 meta, then one an event: its id key, or meta where it has no id
-- ARGV 1 namespace, 2 channel, 3 PUBLISH or SPUBLISH, 4 most events, 5 most bytes (0: no bound), 6 oldest in ms,
--      7 ms an id is remembered, 8 epoch of a new room, 9 ms the meta lives; then 4 an event: payload, check, first, traceparent
-- Answers one line an event: "<seq> <epoch> <check> <1 if it was there already>"
local stream, meta = KEYS[1], KEYS[2]
local most_events, most_bytes, oldest_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local function decimal(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local room = redis.call('HMGET', meta, 'e', 'i', 's', 'b', 'o')
local epoch, incarnation = room[1], room[2]
local seq, bytes, oldest = tonumber(room[3] or 0), tonumber(room[4] or 0), tonumber(room[5] or now)
if not epoch then
  -- A new room, or one whose meta was lost: what the stream holds cannot be placed any more.
  epoch, incarnation, seq = ARGV[8], ARGV[8], 0
  redis.call('DEL', stream)
end
local held = redis.call('XLEN', stream)
if held == 0 then bytes, oldest = 0, now end
-- What may be refused comes first, so that a refusal leaves nothing half done: this write where memory is full or the
-- server a replica, then the publishing where the right to the channel is missing.
redis.call('HSET', meta, 'e', epoch, 'i', incarnation, 's', decimal(seq))
redis.call('PEXPIRE', meta, ARGV[9])

local lines, check = {}, false
for n = 1, #KEYS - 2 do
  local id, base = KEYS[n + 2], 5 + n * 4
  local payload, this_check, first, trace = ARGV[base + 1], ARGV[base + 2], ARGV[base + 3], ARGV[base + 4]
  local known = id ~= meta and redis.call('GET', id)
  local known_in, known_seq, known_check
  if known then known_in, known_seq, known_check = known:match('^(%S+) (%S+) (%S+)$') end
  if known_in == incarnation then
    lines[n] = known_seq .. ' ' .. epoch .. ' ' .. known_check .. ' 1'
  else
    local number, stamp = decimal(seq + 1), decimal(now)
    redis.call(ARGV[3], ARGV[2], '\1w1 ' .. ARGV[1] .. ' ' .. epoch .. ' ' .. number .. ' ' .. this_check .. ' ' .. stamp
      .. ' ' .. (trace ~= '' and trace or '-') .. ' ' .. (first ~= '' and first or '-') .. '\n' .. payload)
    local fields = {'d', payload, 't', stamp, 'c', this_check}
    if first ~= '' then fields[#fields + 1] = 'f'; fields[#fields + 1] = first end
    if trace ~= '' then fields[#fields + 1] = 'p'; fields[#fields + 1] = trace end
    redis.call('XADD', stream, number .. '-0', unpack(fields))
    if id ~= meta then
      redis.call('SET', id, incarnation .. ' ' .. number .. ' ' .. this_check, 'PX', ARGV[7])
    end
    seq, held, bytes, check = seq + 1, held + 1, bytes + #payload, this_check
    lines[n] = number .. ' ' .. epoch .. ' ' .. this_check .. ' 0'
  end
end

if check then
  -- Bounded work a call; what is left over goes with the next ones.
  local steps = 128 + #lines
  while steps > 0 and held > 1
    and (held > most_events or (most_bytes > 0 and bytes > most_bytes) or oldest < now - oldest_ms) do
    local two = redis.call('XRANGE', stream, '-', '+', 'COUNT', 2)
    if not two[2] then break end
    redis.call('XDEL', stream, two[1][1])
    bytes, oldest = bytes - #two[1][2][2], tonumber(two[2][2][4])
    held, steps = held - 1, steps - 1
  end
  redis.call('HSET', meta, 's', decimal(seq), 'c', check, 'b', decimal(bytes), 'o', decimal(oldest))
  redis.call('PEXPIRE', stream, ARGV[6])
end
return lines
