-- What wrk found, as one line of JSON after its own words. With a number of files behind the URL, one
-- of them at random each time: URL/0.html and so on, for all subjects the same ones.
function init(arguments)
    local count = tonumber(arguments[1] or 0)
    if count == 0 then
        return
    end
    local requests = {}
    for number = 1, count do
        requests[number] = wrk.format(nil, string.format('%s%d.html', wrk.path, number - 1))
    end
    math.randomseed(7)
    function request()
        return requests[math.random(count)]
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\nJSON {"requests": %d, "bytes": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, ' ..
        '"max_ms": %.3f, "errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
        summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, latency.max / 1e3,
        errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
