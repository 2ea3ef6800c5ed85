-- For wrk: POST /v1/stops, each for a task of its own; at the end one line of JSON.
local threads = 0
local run = os.getenv('RUN') or '0'

function setup(thread)
  thread:set('number', threads)
  threads = threads + 1
end

function init()
  made = 0
  headers = {['Content-Type'] = 'application/json'}
end

function request()
  made = made + 1
  local task = string.format('%s-%d-%d', run, number, made)
  local body = string.format('{"user_id":"u%d","task_id":"%s","source":"bench"}', made % 97, task)
  return wrk.format('POST', '/v1/stops', headers, body)
end

function done(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  print(string.format('{"per_s":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"errors":%d}',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, errors))
end
