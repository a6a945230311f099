-- Requests of wrk: a prompt of 500 bytes that never comes twice, one in ten with a mail address and a telephone number.
-- wrk … -- KEY SEED: what makes them differ begins with SEED, so that no run repeats another one's prompts. It is
-- written in two words of letters: a long number would have to be looked at as a telephone number in every prompt, a
-- long word as something encoded.

local prose = "A reader asks: how does the gateway know which replica is well, what does it do when one is ill, and who"
  .. " tells the people who wait? Please answer in a few sentences, name the parts that take part, say what each of them"
  .. " keeps for itself, and close with one example from a quiet day and one from a busy evening. Nothing of it is secret,"
  .. " but keep it short, as the page on which the answer will be printed has little room left for more than that. "
local person = "Write to anna.keller@example.com or call +49 30 901820 if in doubt. "
local size = 500
local counter = 0
local before, seed, open, plain, personal

local function cut(text)
  return string.sub(text .. prose, 1, size - string.len(seed) - 12)
end

local function letters(number)
  return (string.gsub(number, "%d", function(digit) return string.char(97 + digit) end))
end

function init(args)
  local key = args[1]
  seed = letters(args[2])
  open = '{"model":"poet","temperature":0,"messages":[{"role":"user","content":"' .. seed .. " "
  plain = cut(" " .. prose) .. '"}]}'
  personal = cut(" " .. person) .. '"}]}'
  local length = string.len(open) + 11 + string.len(plain)
  before = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    .. "Authorization: Bearer " .. key .. "\r\nContent-Length: " .. length .. "\r\n\r\n" .. open
end

function request()
  counter = counter + 1
  return before .. letters(string.format("%011d", counter)) .. (counter % 10 == 0 and personal or plain)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"seconds":%.4f,"answers":%d,"refused":%d,"broken":%d,"p50_ms":%.4f,"p99_ms":%.4f}\n',
    summary.duration / 1e6, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
