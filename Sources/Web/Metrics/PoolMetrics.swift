package import Postgres

/// What the connection pool is doing, per lane, read when the metrics are.
package enum PoolMetrics {
    package static func register(_ pool: PostgresPool, in registry: PrometheusRegistry) {
        registry.collect("pool") { text in
            let lanes = PostgresLane.allCases.map { ($0.rawValue, pool.statistics(of: $0)) }
            func family(
                _ name: String,
                _ kind: PrometheusText.Kind,
                _ value: (PostgresLaneStatistics) -> Double
            ) {
                let samples = lanes.map { (labels: [("lane", $0.0)], value: value($0.1)) }
                text.family("turnpike_postgres_" + name, kind, samples)
            }
            family("connections_limit", .gauge) { Double($0.limit) }
            family("connections_in_use", .gauge) { Double($0.inUse) }
            family("connections_idle", .gauge) { Double($0.idle) }
            family("waiting", .gauge) { Double($0.waiting) }
            family("leases_total", .counter) { Double($0.leases) }
            family("waits_total", .counter) { Double($0.waits) }
            family("wait_seconds_total", .counter) { Double($0.waitNanoseconds) / 1e9 }
            family("timeouts_total", .counter) { Double($0.timeouts) }
            family("refusals_total", .counter) { Double($0.refusals) }
        }
    }
}
