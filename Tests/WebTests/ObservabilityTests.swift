import CoreMetrics
import TestSupport
import Testing
import Web

@Suite struct ObservabilityTests {
    @Test func everyLogLineIsJSONAndNoneHasASecret() async throws {
        try await TestServer.run { server in
            let key = try await server.makeKey([.auditRead])
            let client = server.anonymous.with(key: key)
            _ = try await client.get("/api/v1/audit-log?action=topsecretquery", headers: ["X-Request-Id": "log-1"])
            _ = try await client.get("/api/v1/api-keys/topsecretpath")
            let records = try server.log.lines.map { try JSONValue(parsing: $0) }
            let record = try #require(records.first { $0["request_id"]?.string == "log-1" && $0["route"] != nil })
            #expect(record["message"]?.string == "request")
            #expect(record["level"]?.string == "info")
            #expect(record["method"]?.string == "GET")
            #expect(record["route"]?.string == "/api/v1/audit-log")
            #expect(record["status"]?.number == "200")
            #expect(record["credential_id"]?.string?.hasPrefix("key:") == true)
            #expect(record["duration_us"]?.number != nil)
            #expect(record["time"]?.string?.hasSuffix("Z") == true)
            let text = server.log.text
            for secret in [key, TestServer.operatorKey, "topsecretquery", "topsecretpath"] {
                #expect(!text.contains(secret))
            }
            #expect(!text.contains(try #require(key.split(separator: "_").last)))
        }
    }

    @Test func metricsAreThePrometheusTextFormat() async throws {
        try await TestServer.run { server in
            _ = try await server.operatorClient.get("/api/v1/audit-log")
            let answer = try await server.anonymous.get("/metrics")
            #expect(answer.status == 200)
            #expect(answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8")
            let sample = #/[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? ([0-9.e+-]+|\+Inf|NaN)/#
            let lines = answer.text.split(separator: "\n")
            for line in lines where !line.hasPrefix("# TYPE ") {
                #expect(line.wholeMatch(of: sample) != nil, "\(line)")
            }
            let families = lines.filter { $0.hasPrefix("# TYPE ") }
            #expect(Set(families).count == families.count)
            let labels = #"{method="GET",route="/api/v1/audit-log",status="2xx"}"#
            #expect(lines.contains { $0.hasPrefix("turnpike_http_requests_total\(labels) ") })
            #expect(lines.contains { $0.hasPrefix("turnpike_http_request_duration_seconds_count\(labels) ") })
            #expect(lines.contains { $0.hasPrefix(#"turnpike_postgres_connections_limit{lane="admission"} 2"#) })
            #expect(lines.contains { $0.hasPrefix("process_resident_memory_bytes ") })
            #expect(lines.contains { $0.hasPrefix("process_cpu_seconds_total ") })
        }
    }

    @Test func whatNoOperationAnswersIsCountedUnderFixedLabels() async throws {
        try await TestServer.run { server in
            let series = #"turnpike_http_requests_total{method="none",route="none",status="4xx"}"#
            let before = try await server.counterValue(series)
            let answers = [
                try await server.anonymous.get("/madeup"), try await server.anonymous.delete("/healthz"),
                try await server.operatorClient.post("/api/v1/madeup", "{}"),
            ]
            #expect(answers.map(\.status) == [404, 405, 404])
            let connection = try RawConnection(port: server.port)
            try connection.send("MADEUP / HTTP/1.1\r\nHost: a\r\n\r\n")
            let refused = await connection.answer()
            #expect(refused.hasPrefix("HTTP/1.1 400"))
            let after = try await server.counterValue(series)
            #expect(after >= before + 4)
            let metrics = try await server.anonymous.get("/metrics")
            #expect(!metrics.text.contains("madeup") && !metrics.text.contains("MADEUP"))
        }
    }

    @Test func aHistogramCountsWhatIsAtOrBelowEachBound() {
        let registry = PrometheusRegistry()
        let timer = registry.makeTimer(label: "work", dimensions: [("kind", "a\"b")])
        for milliseconds in [1, 2, 3, 20_000] as [Int64] { timer.recordNanoseconds(milliseconds * 1_000_000) }
        let text = registry.exposition()
        #expect(text.contains("# TYPE work_seconds histogram\n"))
        #expect(text.contains(#"work_seconds_bucket{kind="a\"b",le="0.001"} 1"# + "\n"))
        #expect(text.contains(#"work_seconds_bucket{kind="a\"b",le="0.002"} 2"# + "\n"))
        #expect(text.contains(#"work_seconds_bucket{kind="a\"b",le="10"} 3"# + "\n"))
        #expect(text.contains(#"work_seconds_bucket{kind="a\"b",le="+Inf"} 4"# + "\n"))
        #expect(text.contains(#"work_seconds_sum{kind="a\"b"} 20.006"#))
    }

    @Test func manyThreadsLoseNoCount() async {
        let registry = PrometheusRegistry()
        let counter = registry.makeCounter(label: "hits", dimensions: [])
        let gauge = registry.makeMeter(label: "level", dimensions: [])
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<10_000 {
                        counter.increment(by: 1)
                        gauge.increment(by: 0.5)
                    }
                }
            }
        }
        #expect(
            registry.exposition() == "# TYPE hits_total counter\nhits_total 80000\n# TYPE level gauge\nlevel 40000\n"
        )
    }
}
