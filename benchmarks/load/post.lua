-- SPDX-License-Identifier: Apache-2.0
-- One POST again and again; prints what the report needs as one line of JSON.
local body = os.getenv("LOAD_BODY")
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["x-api-key"] = os.getenv("LOAD_KEY")
local file = io.open(body, "rb")
wrk.body = file:read("*a")
file:close()

local wrong = 0
local counters = {}

function setup(thread)
   table.insert(counters, thread)
end

function init(args)
   failed = 0
end

function response(status, headers, answer)
   if status ~= 200 then
      failed = failed + 1
   end
end

function done(summary, latency, requests)
   for _, thread in ipairs(counters) do
      wrong = wrong + thread:get("failed")
   end
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
      latency:percentile(99) / 1e3,
      wrong + e.connect + e.read + e.write + e.timeout))
end
