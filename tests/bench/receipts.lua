-- wrk calls back as Kannel does: for each notice one receipt of its way and one of its end.
-- Arguments: the path with the secret, a file with the notices' ids.
local path, ids, count = nil, {}, 0

function init(arguments)
  path = arguments[1]
  for id in io.lines(arguments[2]) do ids[#ids + 1] = id end
end

function request()
  count = count + 1
  -- First 50 of the one, then 50 of the other, as they come from Kannel: not one right after the other.
  local block, place = math.floor((count - 1) / 100), (count - 1) % 100
  local id = ids[(block * 50 + place % 50) % #ids + 1]
  local how
  if place < 50 then
    how = "&attempt=1&type=8&time=1779267600&smsc=NODE&smsc_message=&answer=ACK%2F"
  else
    how = string.format(
      "&attempt=1&type=1&time=1779267600&smsc=NODE&smsc_message=S%09d&answer=id%%3AS%09d+sub%%3A001+dlvrd%%3A001+"
      .. "submit+date%%3A2605201000+done+date%%3A2605201000+stat%%3ADELIVRD+err%%3A000+text%%3A", count, count)
  end
  return wrk.format("GET", path .. "?notice=" .. id .. how, {["User-Agent"] = "Kannel/1.4.5"})
end

function done(summary)
  local wrong = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "errors": %d}\n', summary.requests, summary.duration / 1e6,
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout
  ))
end
