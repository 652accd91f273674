-- wrk makes the requests that the sender makes, each with an id and a number of its own.
-- Arguments: a file that holds one such request, with ID and PHONE where they go.
local before, between, after, count = nil, nil, nil, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local request = file:read("*a")
  file:close()
  -- The number is a header, the id is in the address for receipts: one before the other.
  local phone_from, phone_to = request:find("PHONE", 1, true)
  local id_from, id_to = request:find("ID", phone_to, true)
  before = request:sub(1, phone_from - 1)
  between = request:sub(phone_to + 1, id_from - 1)
  after = request:sub(id_to + 1)
end

function request()
  count = count + 1
  local phone = string.format("+2162%06d0", count)
  local id = string.format("%08x-0000-7000-8000-%012x", os.time(), count)
  return before .. phone .. between .. id .. after
end

function done(summary)
  local wrong = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "errors": %d}\n', summary.requests, summary.duration / 1e6,
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout
  ))
end
